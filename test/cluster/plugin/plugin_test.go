//go:build k8s

package plugin

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ebpfguard/ebpfguard/test/cluster/controlplane"
)

// cluster is a control plane with the plugin.
type cluster struct {
	*testing.T
	*controlplane.ControlPlane
	program string
}

func newCluster(t *testing.T) *cluster {
	c := &cluster{T: t, ControlPlane: controlplane.New(t, controlplane.Options{}), program: filepath.Join(t.TempDir(), "kubectl-ebpfguard")}
	build := exec.Command("go", "build", "-o", c.program, "github.com/ebpfguard/ebpfguard/cmd/ebpfguard")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	c.kubectl("", "apply", "-f", "../../../deploy/helm/ebpfguard/files/crds")
	c.kubectl("", "wait", "--for=condition=Established", "crd", "policies.ebpfguard.io", "clusterpolicies.ebpfguard.io", "nodestatuses.ebpfguard.io")
	c.kubectl("", "create", "namespace", "ebpfguard")
	c.kubectl("", "create", "namespace", "shop")
	c.kubectl("", "apply", "-f", "testdata/rbac.yaml")
	return c
}

// kubectl runs it as the administrator.
func (c *cluster) kubectl(input string, args ...string) {
	c.Helper()
	cmd := c.Kubectl(args...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		c.Fatalf("kubectl %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// command returns a command of the plugin, by a user of some groups.
func (c *cluster) command(groups string, args ...string) *exec.Cmd {
	c.Helper()
	config, err := c.Kubeconfig("ann-"+strings.ReplaceAll(groups, ",", "-"), strings.Split(groups, ",")...)
	if err != nil {
		c.Fatal(err)
	}
	return exec.Command(c.program, append(args, "--kubeconfig", config)...)
}

// run runs a command and returns what it prints. It must end with the exit code.
func (c *cluster) run(code int, groups string, args ...string) (stdout, stderr string) {
	c.Helper()
	cmd := c.command(groups, args...)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Stdin = &out, &problems, strings.NewReader(strings.Repeat("# a policy\n", 10000))
	if err := cmd.Run(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != code {
		c.Errorf("%v: %v, want the exit code %d\n%s%s", args, err, code, &out, &problems)
	}
	return out.String(), problems.String()
}

// node makes a node with an agent, at an address.
func (c *cluster) node(name, address, ready string) {
	c.Helper()
	c.kubectl(fmt.Sprintf(`
{apiVersion: v1, kind: Node, metadata: {name: %[1]s}}
---
{apiVersion: v1, kind: Pod, metadata: {name: ebpfguard-%[1]s, namespace: ebpfguard, labels: {app.kubernetes.io/name: ebpfguard},
  ownerReferences: [{apiVersion: apps/v1, kind: DaemonSet, name: ebpfguard, uid: x}]}, spec: {nodeName: %[1]s, containers: [{name: ebpfguard, image: x}]}}
`, name), "apply", "-f", "-")
	c.kubectl("", "patch", "node", name, "--subresource=status", "--type=merge", "-p", fmt.Sprintf(
		`{"status":{"addresses":[{"type":"InternalIP","address":%q}],"daemonEndpoints":{"kubeletEndpoint":{"Port":10250}}}}`, address))
	c.kubectl("", "-n", "ebpfguard", "patch", "pod", "ebpfguard-"+name, "--subresource=status", "--type=merge", "-p", fmt.Sprintf(
		`{"status":{"phase":"Running","conditions":[{"type":"Ready","status":%q}]}}`, ready))
}

// status writes what the agent of a node tells.
func (c *cluster) status(node, policies string) {
	c.Helper()
	c.kubectl(fmt.Sprintf(`{apiVersion: ebpfguard.io/v1alpha1, kind: NodeStatus, metadata: {name: %s}}`, node), "apply", "-f", "-")
	now := time.Now().UTC().Format(time.RFC3339)
	c.kubectl("", "patch", "nodestatus", node, "--subresource=status", "--type=merge", "-p", fmt.Sprintf(`{"status":{"version":"v0.4.0","kernel":"6.12",
"revision":2,"seen":%q,"policies":[%s],"conditions":[{"type":"Enforced","status":"True","reason":"InForce","message":"","lastTransitionTime":%[1]q},
{"type":"Degraded","status":"False","reason":"NoProblem","message":"","lastTransitionTime":%[1]q}]}}`, now, policies))
}

// wants expects lines that match.
func (c *cluster) wants(text string, patterns ...string) {
	c.Helper()
	for _, pattern := range patterns {
		if !regexp.MustCompile("(?m)" + pattern).MatchString(text) {
			c.Errorf("nothing matches %s in\n%s", pattern, text)
		}
	}
}

// agent is the command in agents' pods: it prints alerts, and takes a policy from its standard input.
func agent(node string, second int) func(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return func(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
		line := strings.Join(args, " ")
		switch {
		case strings.HasPrefix(line, "alerts --recent --output=json"):
			fmt.Fprintf(stdout, `{"time":"2026-11-22T15:04:%02dZ","sequence":7,"boot_id":%q,"policy":%q}`+"\n", second, node, line)
			if strings.Contains(line, "--with-stdin") {
				fmt.Fprintf(stdout, `{"time":"2026-11-22T15:05:%02dZ","sequence":8,"boot_id":%q,"policy":"new"}`+"\n", second, node)
				_, _ = io.Copy(io.Discard, stdin)
			}
		case strings.HasPrefix(line, "mitigate --pod shop/web-0 --ttl 10m0s --output json"):
			text, err := io.ReadAll(stdin) // ends as the plugin's does
			if err != nil {
				return 1
			}
			fmt.Fprintf(stdout, `{"mitigation":{"name":"m","profile":"policy","subject":"%d bytes","expires":"2026-11-22T15:14:05Z"}}`, len(text))
		default:
			fmt.Fprintf(stderr, "ebpfguard: what is %q?\nrun 'x' for usage\n", line)
			return 2
		}
		return 0
	}
}

// TestPlugin has three nodes: one is well, of one the agent is away, and one has none.
func TestPlugin(t *testing.T) {
	c := newCluster(t)
	c.node("one", "10.0.99.1", "True")
	c.node("two", "10.0.99.2", "True")
	c.node("away", "10.0.99.3", "False")
	c.kubectl("{apiVersion: v1, kind: Node, metadata: {name: bare}}", "apply", "-f", "-")
	c.kubectl(`{apiVersion: v1, kind: Pod, metadata: {name: web-0, namespace: shop, labels: {app: web}}, spec: {nodeName: one, containers: [{name: web, image: nginx}]}}`, "apply", "-f", "-")
	one, two := &kubelet{run: agent("one", 3)}, &kubelet{run: agent("two", 2)}
	one.serve(t, c.ControlPlane, "one", "10.0.99.1")
	two.serve(t, c.ControlPlane, "two", "10.0.99.2")

	t.Run("status", func(t *testing.T) { c.at(t).testStatus() })
	t.Run("quarantine", func(t *testing.T) { c.at(t).testQuarantine() })
	t.Run("exec", func(t *testing.T) { c.at(t).testExec() })
	t.Run("follow", func(t *testing.T) { c.at(t).testFollow(one, two) })
}

func (c *cluster) at(t *testing.T) *cluster { return &cluster{t, c.ControlPlane, c.program} }

func (c *cluster) testStatus() {
	_, stderr := c.run(1, "nobody", "status")
	c.wants(stderr, `^ebpfguard: status: nodestatuses.ebpfguard.io is forbidden: User "ann-nobody" cannot list`, "ask who runs the cluster for this right")
	for _, node := range []string{"one", "two", "away"} {
		c.status(node, `{"policy":"shop/p","generation":1,"denials":4}`)
	}
	c.kubectl(`{apiVersion: ebpfguard.io/v1alpha1, kind: Policy, metadata: {name: p, namespace: shop}, spec: {subject: {}, rules: [{operation: socket_bind, deny: [{ports: [22]}]}]}}`, "apply", "-f", "-")
	stdout, _ := c.run(1, "viewers", "status")
	c.wants(stdout, `^DEGRADED  2 of 4 nodes enforce all that is meant for them; 1 policy$`, `^  ! node bare: no agent runs there`, `^  ! node away: its agent is not ready`,
		`^bare  NO AGENT   none `, `^away  NOT READY  Running, not ready  v0.4.0   6.12           2         1        4`, `^one   ENFORCED   ready  `)
	// By kubectl, which hands on the exit code, and completes.
	if err := os.Symlink("kubectl-ebpfguard", filepath.Join(filepath.Dir(c.program), "kubectl_complete-ebpfguard")); err != nil {
		c.Fatal(err)
	}
	for _, t := range []struct {
		code       int
		args, want string
	}{{1, "ebpfguard status", `^DEGRADED  2 of 4`}, {0, "ebpfguard mitigate --help", `^  kubectl ebpfguard mitigate POD `}, {0, "__complete ebpfguard -n shop quarantine we", `^web-0$`}} {
		cmd := c.Kubectl(strings.Fields(t.args)...)
		cmd.Env = append(cmd.Env, "PATH="+filepath.Dir(c.program)+":"+os.Getenv("PATH"))
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != t.code {
			c.Errorf("kubectl %s: exit code %d, want %d", t.args, cmd.ProcessState.ExitCode(), t.code)
		}
		c.wants(string(out), t.want)
	}
	// All is well.
	c.kubectl("", "delete", "node", "bare", "away")
	c.kubectl("", "-n", "ebpfguard", "delete", "pod", "ebpfguard-away", "--force")
	stdout, _ = c.run(0, "viewers", "status")
	c.wants(stdout, `^ENFORCED  2 of 2 nodes`)
	// A change that no agent has come to.
	c.kubectl("", "-n", "shop", "patch", "policies.ebpfguard.io", "p", "--type=merge", "-p", `{"spec":{"mode":"audit"}}`)
	stdout, _ = c.run(1, "viewers", "status")
	c.wants(stdout, `^  ! nodes one, two: the Policy shop/p is in force as it was before \(generation 1`, `^one   INCOMPLETE `)
}

func (c *cluster) testQuarantine() {
	_, stderr := c.run(1, "viewers", "quarantine", "web-0", "-n", "shop")
	c.wants(stderr, `^ebpfguard: quarantine: pods "web-0" is forbidden: User "ann-viewers" cannot patch`)
	stdout, stderr := c.run(0, "viewers,quarantiners", "quarantine", "web-0", "-n", "shop")
	c.wants(stdout, "^pod shop/web-0 has the label ebpfguard.io/quarantine=true$")
	c.wants(stderr, "^warning: no ClusterPolicy selects the label")
	label := func() string {
		out, err := c.Kubectl("-n", "shop", "get", "pod", "web-0", "-o", `jsonpath={.metadata.labels}`).Output()
		if err != nil {
			c.Fatal(err)
		}
		return string(out)
	}
	if got := label(); got != `{"app":"web","ebpfguard.io/quarantine":"true"}` {
		c.Errorf("the labels are %s", got)
	}
	policy := `{apiVersion: ebpfguard.io/v1alpha1, kind: ClusterPolicy, metadata: {name: quarantine}, spec: {subject: {}, rules: [{operation: socket_connect, deny: [{all: true}]}],
		podSelector: {matchLabels: {ebpfguard.io/quarantine: "true"}}}}`
	c.kubectl(strings.Replace(policy, "[{all: true}]", "[{ports: [80]}]", 1), "apply", "-f", "-")
	_, stderr = c.run(0, "viewers,quarantiners", "quarantine", "web-0", "-n", "shop")
	c.wants(stderr, "^warning: the ClusterPolicy quarantine is not in force on the pod's node one")
	c.status("one", `{"policy":"quarantine","generation":1}`)
	if _, stderr = c.run(0, "viewers,quarantiners", "quarantine", "web-0", "-n", "shop"); stderr != "" {
		c.Errorf("it is in force: %s", stderr)
	}
	c.run(0, "viewers,quarantiners", "quarantine", "web-0", "-n", "shop", "--lift")
	if got := label(); got != `{"app":"web"}` {
		c.Errorf("lifted, the labels are %s", got)
	}
}

func (c *cluster) testExec() {
	// By time, and not by node.
	stdout, _ := c.run(0, "viewers,operators", "alerts", "-n", "shop", "-o", "json", "--verdict", "deny,kill")
	if want := `{"node":"two","time":"2026-11-22T15:04:02Z","sequence":7,"boot_id":"two","policy":"alerts --recent --output=json --until-now --verdict=deny --verdict=kill --pod=shop/*"}
{"node":"one","time":"2026-11-22T15:04:03Z","sequence":7,"boot_id":"one","policy":"alerts --recent --output=json --until-now --verdict=deny --verdict=kill --pod=shop/*"}
`; stdout != want {
		c.Errorf("got\n%s, want\n%s", stdout, want)
	}
	// The standard input ends there as well.
	stdout, _ = c.run(0, "viewers,operators", "mitigate", "web-0", "-n", "shop", "-f", "-", "--ttl", "10m")
	c.wants(stdout, `^m on node one: policy for 110000 bytes, for 10m until `)
	_, stderr := c.run(1, "viewers,operators", "explain", "web-0", "-n", "shop")
	c.wants(stderr, `^ebpfguard: explain: node one: what is "explain --container=web --image=nginx --pod=shop/web-0 --service-account=default --pod-label=app=web --output=text"\?$`)
	// The rights: both verbs.
	for _, groups := range []string{"viewers", "viewers,creators"} {
		_, stderr = c.run(1, groups, "mitigations", "--node", "one")
		c.wants(stderr, `cannot get resource "pods/exec"`)
	}
}

func (c *cluster) testFollow(kubelets ...*kubelet) {
	cmd := c.command("viewers,operators", "alerts", "-A", "--follow", "-o", "json")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		c.Fatal(err)
	}
	c.await("both to be followed", func() bool { return kubelets[0].commands()+kubelets[1].commands() == 2 })
	time.Sleep(2 * time.Second) // what comes waits for what is earlier
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		c.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		c.Errorf("%v: %s", err, &stderr)
	}
	var got []string
	for line := range strings.Lines(stdout.String()) {
		got = append(got, line[9:12]+" "+line[strings.Index(line, "15:"):][:8])
	}
	if want := "[two 15:04:02 one 15:04:03 two 15:05:02 one 15:05:03]"; fmt.Sprint(got) != want {
		c.Errorf("got %v, want %s: %s", got, want, &stderr)
	}
	// Nothing is left on the nodes.
	c.await("the agents' commands to end", func() bool { return kubelets[0].commands()+kubelets[1].commands() == 0 })
}

func (c *cluster) await(what string, is func() bool) {
	c.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.Fatalf("waited in vain for %s", what)
		}
	}
}
