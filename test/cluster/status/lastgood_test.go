//go:build k8s

package status

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/ebpfguard/ebpfguard"
	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/api/kubernetes/v1alpha1"
	"github.com/ebpfguard/ebpfguard/daemon"
	"github.com/ebpfguard/ebpfguard/daemon/config"
	"github.com/ebpfguard/ebpfguard/daemon/containers"
	"github.com/ebpfguard/ebpfguard/test/cluster/controlplane"
)

// running is a daemon on a node.
type running struct {
	t      *testing.T
	guard  *guard
	log    *log
	client pb.GuardServiceClient
	stop   func()
}

// agentKubeconfig writes how a node's agent reaches the API server.
func (c *cluster) agentKubeconfig(node, dir string) (string, error) {
	admin, err := c.Kubeconfig("admin", "system:masters")
	if err != nil {
		return "", err
	}
	kubeconfig, err := clientcmd.LoadFromFile(admin)
	if err != nil {
		return "", err
	}
	as := agentOf(node)
	for _, who := range kubeconfig.AuthInfos {
		who.Impersonate, who.ImpersonateGroups, who.ImpersonateUserExtra = as.UserName, as.Groups, as.Extra
	}
	path := filepath.Join(dir, "kubeconfig")
	return path, clientcmd.WriteToFile(*kubeconfig, path)
}

// daemon starts one.
func (c *cluster) daemon(node, dir string, change ...func(*config.Config)) *running {
	c.t.Helper()
	kubeconfig, err := c.agentKubeconfig(node, dir)
	if err != nil {
		c.t.Fatal(err)
	}
	r := &running{t: c.t, guard: &guard{}, log: &log{}}
	o := config.Default()
	o.Policies, o.State, o.Socket = "", filepath.Join(dir, "state"), filepath.Join(dir, "socket")
	o.Kubernetes, o.NodeName, o.Kubeconfig, o.Outputs, o.Containers.Sources = true, node, kubeconfig, nil, []containers.Spec{}
	for _, f := range change {
		f(&o)
	}
	ready := filepath.Join(dir, "ready")
	d, err := daemon.New(o, daemon.Options{
		Log: slog.New(slog.NewTextHandler(r.log, nil)), Version: "1.2.3", ReadyFile: ready, Cgroups: c.t.TempDir(), Sources: []containers.Kind{},
		Open: func(ebpfguard.Options) (daemon.Guard, error) { return r.guard, nil },
	})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	connection, err := grpc.NewClient("unix://"+o.Socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		c.t.Fatal(err)
	}
	r.client = pb.NewGuardServiceClient(connection)
	ended := false
	r.stop = func() {
		if ended {
			return
		}
		ended = true
		cancel()
		connection.Close()
		if err := <-done; err != nil {
			c.t.Errorf("the daemon ended: %v", err)
		}
	}
	c.t.Cleanup(r.stop)
	eventually(c.t, 10*time.Second, func() error { _, err := os.Stat(ready); return err })
	return r
}

// inForce is a check that these policies are in force.
func (r *running) inForce(want string) func() error {
	return func() error {
		if got := r.guard.names(); got != want {
			return fmt.Errorf("in force are %s, want %s", got, want)
		}
		return nil
	}
}

// problems returns what the status says is wrong.
func (r *running) problems() string {
	s, err := r.client.Status(r.t.Context(), &pb.StatusRequest{})
	if err != nil {
		r.t.Fatal(err)
	}
	return strings.Join(s.GetProblems(), "\n")
}

// TestLastKnownGood takes the API server away from a daemon that runs, and from one that starts.
func TestLastKnownGood(t *testing.T) {
	c := newCluster(t, controlplane.Options{})
	c.node("one", nil)
	dir, err := os.MkdirTemp("", "guard") // that of the test would be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	d := c.daemon("one", dir)
	c.kubectl(bind("Policy", "name: ssh, namespace: shop", "")+bind("ClusterPolicy", "name: web", ""), "apply", "-f", "-")
	const both = "[clusterpolicy/web policy/shop/ssh]"
	took := eventually(t, 10*time.Second, d.inForce(both))
	t.Logf("policies are in force %v after kubectl", took.Round(10*time.Millisecond))
	eventually(t, 20*time.Second, c.has("clusterpolicies/web", "1/1 0 Accepted=True/InForce Enforced=True/InForce Degraded=False/NoProblem"))
	status, err := get[v1alpha1.NodeStatus](c, "nodestatuses/one")
	if err != nil || status.Status.Version != "1.2.3" || status.Status.Revision == 0 {
		t.Errorf("%v: %+v", err, status.Status)
	}

	// The API server goes away: what is in force stays, and two lines say so.
	const lost, back = "the API server does not answer", "solved: cluster: API server"
	c.StopAPIServer()
	eventually(t, 30*time.Second, func() error {
		if p := d.problems(); !strings.Contains(p, lost) {
			return fmt.Errorf("the problems are %q", p)
		}
		return nil
	})
	time.Sleep(20 * time.Second)
	if err := d.inForce(both)(); err != nil {
		t.Error(err)
	}
	if err := c.StartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, func() error {
		if p := d.problems(); p != "" {
			return fmt.Errorf("the problems are %q", p)
		}
		return nil
	})
	if text := d.log.String(); strings.Count(text, lost) != 1 || strings.Count(text, back) != 1 || strings.Count(text, "client-go") > 5 {
		t.Errorf("the log:\n%s", text)
	}
	c.kubectl("", "delete", "clusterpolicy", "web")
	took = eventually(t, 10*time.Second, d.inForce("[policy/shop/ssh]"))
	t.Logf("a deleted policy ended %v after kubectl, soon after the API server came back", took.Round(10*time.Millisecond))
	c.kubectl(bind("ClusterPolicy", "name: web", ""), "apply", "-f", "-")
	eventually(t, 10*time.Second, d.inForce(both))
	c.kubectl("", "delete", "clusterpolicy", "web")
	took = eventually(t, 10*time.Second, d.inForce("[policy/shop/ssh]"))
	t.Logf("a deleted policy ended %v after kubectl", took.Round(10*time.Millisecond))

	// A node boots while the API server is away.
	d.stop()
	c.StopAPIServer()
	d = c.daemon("one", dir)
	if err := d.inForce("[policy/shop/ssh]")(); err != nil {
		t.Errorf("at the start: %v", err)
	}
	eventually(t, 30*time.Second, func() error {
		if p := d.problems(); !strings.Contains(p, lost) {
			return fmt.Errorf("the problems are %q", p)
		}
		return nil
	})
	if err := c.StartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.kubectl("", "delete", "policy", "ssh", "-n", "shop")
	took = eventually(t, 15*time.Second, d.inForce("[]"))
	t.Logf("a policy that was deleted meanwhile ended %v after the API server came back", took.Round(10*time.Millisecond))
	if text := d.log.String(); strings.Count(text, lost) != 1 || strings.Count(text, "client-go") > 5 {
		t.Errorf("the log:\n%s", text)
	}
}
