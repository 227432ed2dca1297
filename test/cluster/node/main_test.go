//go:build k8s_node

// The tests of ebpfguard on a real node. They share a cluster: to make one takes minutes.
package node_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	whole "github.com/ebpfguard/ebpfguard/test/cluster"
	nodes "github.com/ebpfguard/ebpfguard/test/cluster/node"
)

var (
	cluster *whole.Cluster
	node    *nodes.Node
	client  *kubernetes.Clientset
)

// Versions of the agent's image: what is installed, and what it is upgraded to.
const (
	version = "0.9.1"
	newer   = "0.9.2"
)

// patience is how long things may take in an emulated guest on a busy machine.
const patience = 5 * time.Minute

func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Println("FAIL:", err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (int, error) {
	ctx := context.Background()
	var err error
	cluster, err = whole.Up(ctx, whole.Options{Kernel: os.Getenv("EBPFGUARD_TEST_KERNEL"), Versions: []string{version, newer}, Log: os.Stdout})
	if err != nil {
		return 1, err
	}
	defer cluster.Down(ctx)
	node = cluster.Node
	if client, err = kubernetes.NewForConfig(cluster.Admin()); err != nil {
		return 1, err
	}
	if err := printVersions(ctx); err != nil {
		return 1, err
	}
	if err := install(ctx); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// printVersions tells the table of results what was tested.
func printVersions(ctx context.Context) error {
	n, err := client.CoreV1().Nodes().Get(ctx, node.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	runc, err := node.Run(ctx, "/usr/sbin/runc", "--version")
	if err != nil {
		return err
	}
	info := n.Status.NodeInfo
	runtime, _, _ := strings.Cut(strings.TrimPrefix(info.ContainerRuntimeVersion, "containerd://"), "+")
	first, _, _ := strings.Cut(strings.TrimPrefix(runc.Output, "runc version "), "\n")
	fmt.Printf("versions: Kubernetes %s, containerd %s, runc %s, Linux %s\n", info.KubeletVersion, runtime, first, info.KernelVersion)
	return nil
}

// install installs the chart as docs/kubernetes.md says, and waits until the agent is ready.
func install(ctx context.Context) error {
	began := time.Now()
	out, err := cluster.RunHelm(ctx, "install", "ebpfguard", cluster.Chart(), "--namespace", "ebpfguard", "--create-namespace",
		"--set", "image.tag="+version, "--set", "image.pullPolicy=Never")
	if err == nil {
		out, err = cluster.Kubectl("--namespace", "ebpfguard", "rollout", "status", "daemonset/ebpfguard", "--timeout", "8m").CombinedOutput()
	}
	if err != nil {
		return fmt.Errorf("install the chart: %w: %s\n%s", err, out, state(ctx))
	}
	fmt.Printf("the agent was ready %v after the chart was installed\n", time.Since(began).Round(time.Second))
	return nil
}

// state describes the cluster for whoever looks at a failure.
func state(ctx context.Context) string {
	var b strings.Builder
	for _, args := range [][]string{
		{"get", "nodes,pods,daemonsets,clusterpolicies,policies,nodestatuses", "--all-namespaces", "--output", "wide"},
		{"--namespace", "ebpfguard", "describe", "pods"},
		{"--namespace", "ebpfguard", "logs", "daemonset/ebpfguard", "--tail", "30"},
		{"--namespace", "ebpfguard", "logs", "daemonset/ebpfguard", "--tail", "30", "--previous"},
	} {
		out, _ := cluster.Kubectl(args...).CombinedOutput()
		fmt.Fprintf(&b, "$ kubectl %s\n%s\n", strings.Join(args, " "), out)
	}
	for _, name := range []string{"containerd", "kubelet"} {
		fmt.Fprintf(&b, "%s:\n%s\n", name, node.Log(ctx, name))
	}
	return b.String()
}
