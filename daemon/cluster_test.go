package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/policy"
)

// inCluster makes daemons agents of a cluster whose API server cannot be reached.
func (w *world) inCluster() {
	w.t.Helper()
	w.config.Kubernetes, w.config.NodeName, w.config.Kubeconfig = true, "one", filepath.Join(w.dir, "kubeconfig")
	const text = `{apiVersion: v1, kind: Config, current-context: c, clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}],
contexts: [{name: c, context: {cluster: c, user: u}}], users: [{name: u, user: {}}]}`
	if err := os.WriteFile(w.config.Kubeconfig, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// fromCluster returns policies as the agent makes them.
func fromCluster(t *testing.T, yaml ...string) []policy.Policy {
	t.Helper()
	set, err := policy.Parse("Policy shop/x", []byte(strings.Join(yaml, "---\n")))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// replace puts the cluster's policies in force and returns why some are not.
func (i *instance) replace(set []policy.Policy, broken ...string) map[string]error {
	i.w.t.Helper()
	result, err := i.d.ReplaceCluster(set, broken)
	if err != nil {
		i.w.t.Fatal(err)
	}
	return result.Refused
}

func TestReplaceCluster(t *testing.T) {
	w := newWorld(t)
	w.inCluster()
	w.write("f.yaml", bind("f", 1))
	i := w.start()
	ssh, web := bind("policy/shop/ssh", 22), bind("clusterpolicy/web", 80)
	if refused := i.replace(fromCluster(t, ssh, web)); len(refused) != 0 {
		t.Errorf("refused: %v", refused)
	}
	i.want("clusterpolicy/web", "f", "policy/shop/ssh")
	before := w.guard.publications
	i.replace(fromCluster(t, ssh, web))
	if w.guard.publications != before {
		t.Error("what is in force already was put in force again")
	}

	// One that cannot be enforced takes nothing from the others.
	w.guard.refuse("policy/shop/bad")
	refused := i.replace(fromCluster(t, ssh, bind("policy/shop/bad", 1), web))
	if len(refused) != 1 || refused["policy/shop/bad"] == nil || !strings.Contains(refused["policy/shop/bad"].Error(), "not today") {
		t.Errorf("refused: %v", refused)
	}
	i.want("clusterpolicy/web", "f", "policy/shop/ssh")

	// Nor does an edit that is wrong from what was in force; what is new and wrong is not in force.
	w.guard.refuse("policy/shop/ssh")
	result, err := i.d.ReplaceCluster(fromCluster(t, bind("policy/shop/ssh", 23), bind("clusterpolicy/new", 1)), []string{"clusterpolicy/web", "clusterpolicy/other"})
	if err != nil || result.Refused["policy/shop/ssh"] == nil || len(result.Former) != 1 || !result.Former["clusterpolicy/web"] {
		t.Errorf("%+v: %v", result, err)
	}
	i.want("clusterpolicy/new", "clusterpolicy/web", "f")
	w.guard.refuse("")
	i.replace(fromCluster(t, ssh, web))
	i.want("clusterpolicy/web", "f", "policy/shop/ssh")
	i.replace(fromCluster(t, ssh), "clusterpolicy/web") // cannot be read now
	i.want("clusterpolicy/web", "f", "policy/shop/ssh")
	i.replace(fromCluster(t, ssh), "clusterpolicy/gone")
	i.want("f", "policy/shop/ssh")
	i.replace(fromCluster(t, ssh, web))

	// Files, the cluster and who applies keep out of each other's way.
	_, err = i.Delete(t.Context(), &pb.DeleteRequest{Names: []string{"policy/shop/ssh"}})
	wantStatus(t, err, codes.FailedPrecondition, "delete that with kubectl")
	_, err = i.Apply(t.Context(), &pb.ApplyRequest{Yaml: bind("policy/shop/ssh", 23)})
	wantStatus(t, err, codes.FailedPrecondition, "belongs to the cluster")
	i.apply(bind("a", 2))
	if refused := i.replace(fromCluster(t, bind("a", 3), web)); refused["a"] == nil {
		t.Error("a policy of the cluster has the name of an applied one")
	}
	i.want("a", "clusterpolicy/web", "f")

	// Without the API server the last set is in force, also after a boot.
	i.stop()
	w.guard.pinned, w.guard.set = false, nil
	i = w.start()
	i.want("a", "clusterpolicy/web", "f")
	if refused := i.replace(nil); len(refused) != 0 {
		t.Errorf("refused: %v", refused)
	}
	i.want("a", "f")
	if _, err := os.Stat(filepath.Join(w.config.State, clusterFile)); err == nil {
		t.Error("there is a file of no policies")
	}
}

// TestClusterTakeover takes over the cluster's policies, once.
func TestClusterTakeover(t *testing.T) {
	w := newWorld(t)
	w.inCluster()
	i := w.start()
	i.replace(fromCluster(t, bind("policy/shop/ssh", 22)))
	i.stop()
	w.guard.pinned = true
	i = w.start()
	i.want("policy/shop/ssh")
	i.replace(nil)
	i.want()
	i.stop()

	// A daemon that is no agent leaves them.
	w.guard.pinned, w.guard.set = false, nil
	i = w.start()
	i.replace(fromCluster(t, bind("policy/shop/ssh", 22)))
	i.stop()
	w.config.Kubernetes, w.guard.set = false, nil
	i = w.start()
	i.want()
}

// TestClusterLockout has the guard reach the API server, whatever the cluster's policies say.
func TestClusterLockout(t *testing.T) {
	w := newWorld(t)
	w.inCluster()
	i := w.start()
	egress := "apiVersion: ebpfguard.io/v1alpha1\nkind: Policy\nmetadata: {name: clusterpolicy/egress}\nspec:\n  subject: {}\n" +
		"  rules: [{operation: socket_connect, allow: {addresses: [10.0.0.0/8]}, deny: all}]\n"
	refused := i.replace(fromCluster(t, egress, bind("clusterpolicy/web", 80)))
	if err := refused["clusterpolicy/egress"]; len(refused) != 1 || err == nil || !strings.Contains(err.Error(), "connecting to 127.0.0.1:1, from where policies come") {
		t.Errorf("refused: %v", refused)
	}
	i.want("clusterpolicy/web")
	i.replace(fromCluster(t, strings.Replace(egress, "10.0.0.0/8", "127.0.0.1", 1)))
	i.want("clusterpolicy/egress")
}

// TestClusterFileBroken takes over what is in force where the file cannot be read, as an older version may not read that
// of a newer one: nothing ends by a roll-back.
func TestClusterFileBroken(t *testing.T) {
	w := newWorld(t)
	w.inCluster()
	w.write("f.yaml", bind("f", 1))
	i := w.start()
	i.apply(bind("a", 2))
	i.replace(fromCluster(t, bind("policy/shop/ssh", 22)))
	file := filepath.Join(w.config.State, clusterFile)
	spoil := func() {
		if err := os.WriteFile(file, []byte("kind: Later\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.crash(i)
	spoil()
	i = w.start()
	i.want("a", "f", "policy/shop/ssh")
	i.wantProblem("those that were in force stay")
	i.replace(fromCluster(t, bind("policy/shop/ssh", 22))) // nothing new
	i.wantProblem("")
	w.boot(i)
	i = w.start()
	i.want("a", "f", "policy/shop/ssh")
	i.replace(fromCluster(t, bind("policy/shop/ssh", 22), bind("clusterpolicy/web", 80)))
	i.want("a", "clusterpolicy/web", "f", "policy/shop/ssh")

	// The same with a broken file of what was applied: each keeps its own.
	w.crash(i)
	spoil()
	if err := os.WriteFile(filepath.Join(w.config.State, appliedFile), []byte("kind: Later\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	i = w.start()
	i.want("a", "clusterpolicy/web", "f", "policy/shop/ssh")
	i.replace(nil)
	i.want("a", "f")

	// After a boot there is nothing to take over.
	i.replace(fromCluster(t, bind("policy/shop/ssh", 22)))
	w.boot(i)
	spoil()
	i = w.start()
	i.want("a", "f")
	i.wantProblem("NONE of them")
}

// TestClusterTogether takes policies that are right only together, whatever else is wrong.
func TestClusterTogether(t *testing.T) {
	w := newWorld(t)
	w.inCluster()
	i := w.start()
	egress := func(name, rule string) string {
		return "apiVersion: ebpfguard.io/v1alpha1\nkind: Policy\nmetadata: {name: " + name + "}\nspec:\n  subject: {}\n  rules: [{operation: socket_connect, " + rule + "}]\n"
	}
	w.guard.refuse("policy/shop/bad")
	refused := i.replace(fromCluster(t, egress("clusterpolicy/a", "deny: all"), bind("clusterpolicy/b", 1), egress("clusterpolicy/c", "allow: {addresses: [127.0.0.1]}"), bind("policy/shop/bad", 1)))
	if len(refused) != 1 || refused["policy/shop/bad"] == nil {
		t.Errorf("refused: %v", refused)
	}
	i.want("clusterpolicy/a", "clusterpolicy/b", "clusterpolicy/c")
}

// TestClusterGuardStarts has policies that would keep the guard's own pod from starting again leave alone what nobody knows.
func TestClusterGuardStarts(t *testing.T) {
	w := newWorld(t)
	w.inCluster()
	w.config.HostRoot = "/"
	i := w.start()
	of := func(name, subject, rule string) string {
		return "apiVersion: ebpfguard.io/v1alpha1\nkind: Policy\nmetadata: {name: " + name + "}\nspec:\n  subject: " + subject + "\n  rules: [" + rule + "]\n"
	}
	quarantine, shell := "{pods: [{labels: {quarantine: yes}}]}", "{pods: [{namespaces: [shop]}]}"
	refused := i.replace(fromCluster(t,
		of("clusterpolicy/exec", quarantine, "{operation: bprm_check_security, deny: all}"),
		of("clusterpolicy/files", quarantine, "{operation: file_open, deny: {paths: [/]}}"),
		of("clusterpolicy/net", quarantine, "{operation: socket_bind, deny: all}"),
		of("clusterpolicy/shell", shell, "{operation: bprm_check_security, deny: {paths: [/bin/no-such-shell]}}")))
	if len(refused) != 0 {
		t.Errorf("refused: %v", refused)
	}
	for _, p := range w.guard.set {
		if want := p.Name == "clusterpolicy/exec" || p.Name == "clusterpolicy/files"; p.Subject.Identified != want {
			t.Errorf("%s leaves alone what nobody knows: %v", p.Name, p.Subject.Identified)
		}
	}
}

// TestGuardInContainerStarts refuses files and requests that would keep the guard from starting again in its container; a
// mitigation leaves alone what nobody knows.
func TestGuardInContainerStarts(t *testing.T) {
	w := newWorld(t)
	w.config.HostRoot = "/"
	i := w.start()
	noExec := func(subject string) string {
		return "apiVersion: ebpfguard.io/v1alpha1\nkind: Policy\nmetadata: {name: no-exec}\nspec:\n  subject: " + subject +
			"\n  rules: [{operation: bprm_check_security, deny: all}]\n"
	}
	_, err := i.Apply(t.Context(), &pb.ApplyRequest{Yaml: noExec("{containers: [{names: [web]}]}")})
	if err == nil || !strings.Contains(err.Error(), "keep the guard from starting again") || !strings.Contains(err.Error(), "identified: true") {
		t.Errorf("applied: %v", err)
	}
	i.apply(noExec("{containers: [{names: [web]}], identified: true}"))
	i.want("no-exec")
	_, err = i.Mitigate(t.Context(), &pb.MitigateRequest{
		Profile: pb.MitigateRequest_PROFILE_NO_EXEC, Ttl: minute(), Name: "now", Subject: &pb.MitigateRequest_Container{Container: "web"},
	})
	if err != nil {
		t.Fatal(err)
	}
	i.want("no-exec", "now")
	if p := w.guard.set[indexOf(w.guard.set, "now")]; !p.Subject.Identified {
		t.Errorf("the mitigation would keep the guard from starting again: %+v", p.Subject)
	}
}

// TestClusterStart starts with what still fits this machine of the cluster's policies.
func TestClusterStart(t *testing.T) {
	w := newWorld(t)
	w.inCluster()
	i := w.start()
	i.replace(fromCluster(t, bind("clusterpolicy/web", 80), bind("policy/shop/ssh", 22)))
	w.boot(i)
	w.guard.refuse("clusterpolicy/web")
	i = w.start()
	i.want("policy/shop/ssh")
	const lost = "clusterpolicy/web of the cluster was in force last and is NOT now"
	i.wantProblem(lost)
	inForce := func() bool {
		t.Helper()
		s, err := i.Status(t.Context(), &pb.StatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return s.GetInForce()
	}
	if inForce() {
		t.Error("all is in force, says the status")
	}
	// The API server asks for it still.
	if refused := i.replace(fromCluster(t, bind("clusterpolicy/web", 80), bind("policy/shop/ssh", 22))); len(refused) != 1 {
		t.Errorf("refused: %v", refused)
	}
	if i.wantProblem(lost); inForce() {
		t.Error("all is in force, says the status after the API server answered")
	}
	w.guard.refuse("clusterpolicy/new")
	if refused := i.replace(fromCluster(t, bind("clusterpolicy/new", 80), bind("policy/shop/ssh", 22))); len(refused) != 1 {
		t.Errorf("refused: %v", refused)
	}
	if !inForce() {
		t.Error("not all is in force, says the status, because of one that never was")
	}
}
