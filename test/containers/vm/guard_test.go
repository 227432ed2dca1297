//go:build vm

package vm

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const ebpfguard = "/usr/bin/ebpfguard"

// secret is a file of the host, forbidden to the containers as that in their image is.
const secret = "/run/host-secret"

// policies are about containers with the label app=web, and about those of images that are named.
const policies = `apiVersion: ebpfguard.io/v1alpha1
kind: Policy
metadata: {name: web-reads-no-secret}
spec:
  subject: {containers: [{labels: {app: [web]}}]}
  rules:
  - operation: file_open
    deny: {paths: [/srv/secret, ` + secret + `]}
---
apiVersion: ebpfguard.io/v1alpha1
kind: Policy
metadata: {name: image-by-digest}
spec:
  subject: {containers: [{images: ["docker.io/library/test@DIGEST"], labels: {app: [digest]}}]}
  rules:
  - operation: file_open
    deny: {paths: [/srv/secret]}
---
apiVersion: ebpfguard.io/v1alpha1
kind: Policy
metadata: {name: no-shell-in-api}
spec:
  subject: {containers: [{names: [api]}]}
  rules:
  - operation: bprm_check_security
    deny: {paths: [/bin/busybox]}
`

// guard is a daemon that the tests start.
type guard struct {
	t   testing.TB
	dir string
	cmd *exec.Cmd
	// ended is closed when the process has ended.
	ended chan struct{}
}

// shared is a guard with which containers start also when it is away: one takes a minute to start.
var shared *guard

// useGuard gives it to a test.
func useGuard(t testing.TB, c *containerd) *guard {
	t.Helper()
	if shared == nil {
		shared = startGuard(t, c, "open")
	}
	shared.t = t
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(shared.dir, "log"))
			t.Logf("the guard's log:\n%s", log)
		}
	})
	_ = os.Truncate(filepath.Join(shared.dir, "alerts"), 0)
	shared.awaitSource()
	return shared
}

// startGuard starts a daemon that hears of containerd's containers.
func startGuard(t testing.TB, c *containerd, fail string) *guard {
	t.Helper()
	dir, err := os.MkdirTemp("/run", "guard-")
	if err != nil {
		t.Fatal(err)
	}
	g := &guard{t: t, dir: dir}
	for name, text := range map[string]string{
		secret:                                "secret\n",
		filepath.Join(dir, "policies/a.yaml"): strings.ReplaceAll(policies, "DIGEST", digest),
		filepath.Join(dir, "config.yaml"):     fmt.Sprintf("containers: {fail: %s, sources: [{type: nri, socket: %s}]}\n", fail, c.NRI),
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g.start()
	return g
}

// end ends the guard and what it enforces.
func (g *guard) end() error {
	g.kill()
	if out, err := g.command("down", "--pins", g.pins()); err != nil {
		return fmt.Errorf("down: %w\n%s", err, out)
	}
	return os.RemoveAll(g.dir)
}

func (g *guard) pins() string { return "/sys/fs/bpf/" + filepath.Base(g.dir) }

// start starts the process, for the first time or again.
func (g *guard) start() {
	g.t.Helper()
	ready := filepath.Join(g.dir, "ready")
	_ = os.Remove(ready)
	log, err := os.OpenFile(filepath.Join(g.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		g.t.Fatal(err)
	}
	defer log.Close()
	g.cmd = exec.Command(ebpfguard, "daemon", "--config", filepath.Join(g.dir, "config.yaml"), "--policies", filepath.Join(g.dir, "policies"),
		"--socket", filepath.Join(g.dir, "socket"), "--state", filepath.Join(g.dir, "state"), "--pins", g.pins(), "--ready-file", ready,
		"--outputs", "{type: file, path: "+filepath.Join(g.dir, "alerts")+"}", "--fold-window=0")
	g.cmd.Stdout, g.cmd.Stderr = log, log
	if err := g.cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	cmd, ended := g.cmd, make(chan struct{})
	g.ended = ended
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	for deadline := time.Now().Add(3 * patience); ; time.Sleep(50 * time.Millisecond) { // the kernel verifies a lot
		if _, err := os.Stat(ready); err == nil {
			return
		}
		select {
		case <-ended:
			g.fatal("the guard ended")
		default:
		}
		if time.Now().After(deadline) {
			g.fatal("the guard is not ready")
		}
	}
}

func (g *guard) fatal(what string) {
	g.t.Helper()
	log, _ := os.ReadFile(filepath.Join(g.dir, "log"))
	g.t.Fatalf("%s:\n%s", what, log)
}

// kill ends the process, which has no time to say anything. Its programs stay.
func (g *guard) kill() {
	_ = g.cmd.Process.Kill()
	<-g.ended
}

func (g *guard) command(args ...string) (string, error) {
	out, err := exec.Command(ebpfguard, args...).CombinedOutput()
	return string(out), err
}

// alert is what the tests look at of one.
type alert struct {
	Policy  string `json:"policy"`
	Verdict string `json:"verdict"`
	Process struct {
		Binary       string `json:"binary"`
		Unidentified bool   `json:"unidentified_container"`
		Container    struct {
			ID     string            `json:"id"`
			Name   string            `json:"name"`
			Image  string            `json:"image"`
			Digest string            `json:"image_digest"`
			Labels map[string]string `json:"labels"`
			Pod    struct {
				Namespace string `json:"namespace"`
				Name      string `json:"name"`
				UID       string `json:"uid"`
			} `json:"pod"`
			Runtime string `json:"runtime"`
		} `json:"container"`
	} `json:"process"`
}

// alerts returns those that were written.
func (g *guard) alerts() []alert {
	f, err := os.Open(filepath.Join(g.dir, "alerts"))
	if err != nil {
		return nil
	}
	defer f.Close()
	var all []alert
	for s := bufio.NewScanner(f); s.Scan(); {
		var a alert
		if err := json.Unmarshal(s.Bytes(), &a); err != nil {
			g.t.Fatalf("the alert %s: %v", s.Bytes(), err)
		}
		all = append(all, a)
	}
	return all
}

// runOnce starts a container, waits for its end, removes it and returns the status of its program; -1 if it did not start.
func (c *containerd) runOnce(podID string, config *podConfig, k container) int {
	c.t.Helper()
	id, err := c.create(podID, config, k)
	if err == nil {
		err = c.startContainer(id)
	}
	if err != nil {
		c.t.Logf("the container %s does not start: %v", k.name, err)
		return -1
	}
	status := c.exit(id)
	c.removeContainer(id)
	return status
}

const eperm = int(unix.EPERM)

// TestFirstAction has containers whose very first action is forbidden, three at a time, while others start and stop.
func TestFirstAction(t *testing.T) {
	c := useContainerd(t, false)
	g := useGuard(t, c)
	web := c.config(pod{name: "web", labels: map[string]string{"app": "web"}})
	webPod := c.mustRunPod(web)
	other := c.config(pod{name: "other", labels: map[string]string{"app": "other"}})
	otherPod := c.mustRunPod(other)

	var done atomic.Bool
	var others, forbidden sync.WaitGroup
	neighbours := 0
	others.Go(func() {
		for !done.Load() {
			neighbours++
			if status := c.runOnce(otherPod, other, container{name: fmt.Sprint("other-", neighbours), args: []string{"open", "/srv/secret", "exit"}}); status != 0 {
				t.Errorf("a container that no rule is about ended with %d", status)
			}
		}
	})
	var began, passed atomic.Int64
	for range 3 {
		forbidden.Go(func() {
			for i := began.Add(1); i <= int64(times(10)); i = began.Add(1) {
				k := container{name: fmt.Sprint("web-", i), args: []string{"open", "/srv/secret", "write", "/out/passed", "x"}}
				if i%2 == 1 { // a host's file by a mount
					k.mounts, k.args[1] = map[string]string{"/mnt/file": secret}, "/mnt/file"
				}
				if status := c.runOnce(webPod, web, k); status != eperm {
					passed.Add(1)
					t.Errorf("the container %s ended with %d, want %d", k.name, status, eperm)
				}
			}
		})
	}
	forbidden.Wait()
	done.Store(true)
	others.Wait()
	t.Logf("%d forbidden first actions, %d passed; %d neighbours", times(10), passed.Load(), neighbours)
	if c.stamped("passed") {
		t.Error("a container went on after its first action")
	}
	if _, err := os.ReadFile(secret); err != nil {
		t.Errorf("the host cannot read the file: %v", err)
	}

	digestConfig := c.config(pod{name: "digest", labels: map[string]string{"app": "digest"}})
	if status := c.runOnce(c.mustRunPod(digestConfig), digestConfig, container{name: "digest", args: []string{"open", "/srv/secret"}}); status != eperm {
		t.Errorf("a container of an image that is named by its digest ended with %d, want %d", status, eperm)
	}
	// A program that must not start is the container's first.
	for _, name := range []string{"api", "free"} {
		id := c.mustCreate(otherPod, other, container{name: name, args: []string{"exec", "/bin/sh", "-c", "exit 7"}})
		c.mustStart(id)
		want := map[string]int{"api": eperm, "free": 7}[name]
		if status := c.exit(id); status != want {
			t.Errorf("the container %s ended with %d, want %d", name, status, want)
		}
	}

	await(t, "the alerts", func() bool { return len(g.alerts()) >= times(10)+2 })
	for _, a := range g.alerts() {
		k := a.Process.Container
		if a.Verdict != "deny" || a.Process.Unidentified || k.ID == "" || k.Image != testImage || k.Digest != digest || k.Pod.Namespace != "shop" || k.Pod.UID == "" || k.Runtime != "containerd" {
			t.Errorf("the alert is %+v", a)
		}
		if a.Policy == "web-reads-no-secret" && (!strings.HasPrefix(k.Name, "web-") || k.Labels["app"] != "web" || k.Pod.Name != "web") {
			t.Errorf("the alert names the container %+v", k)
		}
	}
}

// TestNoWayOut has a privileged container that tries to leave what it belongs to: it has the machine's control groups,
// processes and files.
func TestNoWayOut(t *testing.T) {
	c := useContainerd(t, false)
	useGuard(t, c)
	ways := []struct{ name, script string }{
		{"stay", "true"},
		{"root group", "echo $$ > /host/cgroup/cgroup.procs"},
		{"group of the host", "mkdir /host/cgroup/elsewhere; echo $$ > /host/cgroup/elsewhere/cgroup.procs"},
		{"group of a neighbour", "echo $$ > /host/cgroup$NEIGHBOUR/cgroup.procs"},
		{"own group below", "mkdir /host/cgroup$OWN/x; echo $$ > /host/cgroup$OWN/x/cgroup.procs"},
		{"namespaces", "ENTER=unshare\\ -m\\ -p\\ -f\\ -i\\ -u"},
		{"cgroup namespace", "echo $$ > /host/cgroup/cgroup.procs; ENTER=/bin/probe\\ cgroupns\\ exec"},
		{"host's namespaces", "ENTER=nsenter\\ -t\\ 1\\ -m\\ -i\\ -u"},
		{"host's namespaces and root group", "echo $$ > /host/cgroup/cgroup.procs; ENTER=nsenter\\ -t\\ 1\\ -m\\ -i\\ -u"},
		{"user namespace", "ENTER=unshare\\ -U\\ -r\\ -m"},
		{"child that forks while it moves", "(echo 0 > /host/cgroup/cgroup.procs; exec sh -c 'true & wait')"},
	}
	other := c.config(pod{name: "other", privileged: true})
	otherPod := c.mustRunPod(other)
	neighbour := c.mustCreate(otherPod, other, container{name: "neighbour", args: []string{"wait"}})
	c.mustStart(neighbour)
	for _, app := range []string{"web", "free"} {
		config := c.config(pod{name: app, labels: map[string]string{"app": app}, privileged: true})
		config.Linux.SecurityContext.NamespaceOptions = host(nodePID)
		podID := c.mustRunPod(config)
		id := c.mustCreate(podID, config, container{
			name: "main", args: []string{"wait"}, privileged: true, hostPID: true,
			mounts: map[string]string{"/host/cgroup": cgroups, "/host/root": "/"},
		})
		c.mustStart(id)
		for _, way := range ways {
			// The last exec is what the label is looked up at.
			script := fmt.Sprintf("OWN=%s; NEIGHBOUR=%s; ENTER=; %s; exec $ENTER /bin/busybox cat /srv/secret %s /host/root%s", group(config, id), group(other, neighbour), way.script, secret, secret)
			if strings.Contains(way.script, "nsenter") { // there is the host's own busybox
				script = strings.ReplaceAll(script, "/bin/busybox", busybox)
			}
			out := c.execInside(id, script)
			leaked := strings.Contains(out, "secret\n")
			if leaked != (app == "free") {
				t.Errorf("the container %s, %s: its secrets were read: %v\n%s", app, way.name, leaked, out)
			} else if app == "web" && !strings.Contains(out, "Operation not permitted") {
				t.Errorf("the container %s, %s: it was not refused\n%s", app, way.name, out)
			}
		}
	}
}

// TestExec has programs that are started in a container that runs.
func TestExec(t *testing.T) {
	c := useContainerd(t, false)
	useGuard(t, c)
	for _, app := range []string{"web", "free"} {
		config := c.config(pod{name: app, labels: map[string]string{"app": app}})
		podID := c.mustRunPod(config)
		for try := range 2 { // the second takes the place, and the name, of the first
			id := c.mustCreate(podID, config, container{name: "main", args: []string{"wait"}})
			c.mustStart(id)
			var outs []string
			out, _ := c.crictl("exec", "--sync", id, "/bin/cat", "/srv/secret")
			outs = append(outs, out)
			ctr := exec.Command("/usr/local/bin/ctr", "--address", filepath.Join(c.dir, "containerd.sock"), "--namespace", "k8s.io",
				"task", "exec", "--exec-id", fmt.Sprint("x", try), id, "/bin/cat", "/srv/secret")
			raw, _ := ctr.CombinedOutput()
			outs = append(outs, string(raw))
			for i, out := range outs {
				if leaked := strings.Contains(out, "secret\n"); leaked != (app == "free") {
					t.Errorf("%s, %d, %d: the secret was read: %v\n%s", app, try, i, leaked, out)
				}
			}
			c.stopContainer(id)
			c.removeContainer(id)
		}
	}
}

// TestGuardStopped kills the guard, and has it hang, where containers must not start without it.
func TestGuardStopped(t *testing.T) {
	c := useContainerd(t, true)
	g := startGuard(t, c, "closed")
	defer func() {
		if err := g.end(); err != nil {
			t.Error(err)
		}
	}()
	g.awaitSource()
	report(t, "with the guard, without which none starts", measure(c))
	web := c.config(pod{name: "web", labels: map[string]string{"app": "web"}})
	podID := c.mustRunPod(web)
	run := func(name string, want int) {
		t.Helper()
		if status := c.runOnce(podID, web, container{name: name, args: []string{"open", "/srv/secret"}}); status != want {
			t.Errorf("the container %s ended with %d, want %d", name, status, want)
		}
	}
	refused := func(what, id, mark string) {
		t.Helper()
		began := now()
		err := c.startContainer(id)
		t.Logf("%s: the start took %v: %v", what, now()-began, err)
		if err == nil || c.stamped(mark) {
			t.Errorf("%s: a container started: %v, and ran: %v", what, err == nil, c.stamped(mark))
		}
	}
	created := func(mark string) string {
		return c.mustCreate(podID, web, container{name: mark, args: []string{"stamp", "/out/" + mark, "exit"}})
	}
	run("before", eperm)

	hangs, dead := created("hangs"), created("dead")
	if err := g.cmd.Process.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	refused("the guard hangs", hangs, "hangs")
	g.kill()
	refused("the guard is dead", dead, "dead")
	// The first request after the guard's death may pass with an NRI before 0.12.4. Nothing is known of that container.
	if id, err := c.create(podID, web, container{name: "first", args: []string{"open", "/srv/secret"}}); err == nil {
		if err := c.startContainer(id); err == nil {
			if status := c.exit(id); status != eperm {
				t.Errorf("a container of which nothing is known ended with %d, want %d", status, eperm)
			}
		}
	}
	for i := range 3 {
		name := fmt.Sprint("new-", i)
		if _, err := c.create(podID, web, container{name: name, args: []string{"exit"}}); err == nil || !strings.Contains(err.Error(), "required plugin") {
			t.Errorf("the guard is dead: the error of a container that is created is %v", err)
		}
	}
	g.start()
	g.awaitSource()
	run("after", eperm)
}

// TestGuardAway kills the guard where containers start without it: those are containers of which nothing is known.
func TestGuardAway(t *testing.T) {
	c := useContainerd(t, false)
	g := useGuard(t, c)
	config := c.config(pod{name: "web", labels: map[string]string{"app": "web"}})
	podID := c.mustRunPod(config)
	free := c.config(pod{name: "free"})
	freePod := c.mustRunPod(free)
	g.kill()
	for podID, config := range map[string]*podConfig{podID: config, freePod: free} {
		// A rule about containers might be about these.
		if status := c.runOnce(podID, config, container{name: "unknown", args: []string{"open", "/srv/secret"}}); status != eperm {
			t.Errorf("a container that nobody could tell of ended with %d, want %d", status, eperm)
		}
	}
	// One that starts while the guard is away, and tries when the guard is back.
	id := c.mustCreate(freePod, free, container{name: "late", args: []string{"wait"}})
	c.mustStart(id)
	web := c.mustCreate(podID, config, container{name: "late", args: []string{"wait"}})
	c.mustStart(web)
	g.start()
	g.awaitSource()
	if out := c.execInside(id, "/bin/cat /srv/secret"); !strings.Contains(out, "secret\n") {
		t.Errorf("in a container that no rule is about: %s", out)
	}
	if out := c.execInside(web, "/bin/cat /srv/secret"); strings.Contains(out, "secret\n") {
		t.Errorf("in a container that a rule is about: %s", out)
	}
}

// awaitSource waits until the guard hears of containers again.
func (g *guard) awaitSource() {
	g.t.Helper()
	await(g.t, "the guard to hear of containers", func() bool {
		out, err := g.command("status", "--socket", filepath.Join(g.dir, "socket"), "--output", "json")
		if err != nil && out == "" {
			return false
		}
		return strings.Contains(strings.Join(strings.Fields(out), ""), `"connected":true`)
	})
}

// TestLatency measures what the guard's word costs a container's start.
func TestLatency(t *testing.T) {
	c := useContainerd(t, false)
	g := useGuard(t, c)
	report(t, "with the guard", measure(c))
	g.kill()
	report(t, "without a guard", measure(c))
	recorded := &recorder{}
	_, stop := startSource(t, c.NRI, recorded)
	report(t, "with a plugin that does nothing", measure(c))
	stop()
	g.start()
}

// measure returns how long containers take to start, the fastest first.
func measure(c *containerd) []time.Duration {
	config := c.config(pod{labels: map[string]string{"app": "other"}})
	podID := c.mustRunPod(config)
	defer c.removePod(podID)
	var took []time.Duration
	for range times(6) {
		id := c.mustCreate(podID, config, container{args: []string{"exit"}})
		began := now()
		c.mustStart(id)
		took = append(took, now()-began)
		c.exit(id)
		c.removeContainer(id)
	}
	slices.Sort(took)
	return took
}

func report(t *testing.T, what string, took []time.Duration) {
	p := func(q int) time.Duration { return took[len(took)*q/100].Round(10 * time.Microsecond) }
	t.Logf("%d starts %s: median %v, 99th percentile %v", len(took), what, p(50), p(99))
}
