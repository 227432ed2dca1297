package mitigate

import (
	"os"
	"strings"
	"testing"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/daemon/internal/shelltest"
	"github.com/ebpfguard/ebpfguard/policy"
)

// TestContainers has processes in containers, as somebody tells who knows.
func TestContainers(t *testing.T) {
	pid := uint32(shelltest.Start(t, "echo; read x; exit").Process.Pid)
	subject := policy.Subject{Containers: []policy.ContainerSelector{{Names: []string{"web"}}}}
	in := func(name string, unidentified bool) Machine {
		return Machine{Containers: func(string) ([]policy.Container, bool) {
			if name == "" {
				return nil, unidentified
			}
			return []policy.Container{{ID: "1", Name: "outer"}, {ID: "2", Name: name}}, unidentified
		}}
	}
	for _, c := range []struct {
		name    string
		machine Machine
		want    bool
	}{
		{"the container", in("web", false), true},
		{"another container", in("db", false), false},
		{"one of which nothing is known", in("", true), false}, // what it does is judged, but nothing is killed on suspicion
		{"the host", in("", false), false},
		{"nobody knows", Machine{}, false},
	} {
		if got := c.machine.selectorOf(subject).selects(pid); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
		if warning := c.machine.NoMatchWarning(subject); strings.HasPrefix(warning, "no process is in a container web now") == c.want {
			t.Errorf("%s: warning %q", c.name, warning)
		}
	}
	if _, p, err := in("web", false).LookUp(uint32(os.Getpid())); err != nil || len(p.Containers) != 2 {
		t.Errorf("%v, %+v", err, p)
	}
	// This process is in it too, and plays the daemon.
	request := &pb.MitigateRequest{Profile: pb.MitigateRequest_PROFILE_KILL, Subject: &pb.MitigateRequest_Container{Container: "web"}}
	if _, _, err := in("web", false).Policy(request); err == nil || !strings.Contains(err.Error(), "container web includes process") {
		t.Errorf("its own container: %v", err)
	}
	// A pod is meant by its namespace and name, whatever its containers are called.
	pods := Machine{Containers: func(string) ([]policy.Container, bool) {
		return []policy.Container{{ID: "1", Name: "nginx", Pod: &policy.Pod{Namespace: "shop", Name: "web-0"}}}, false
	}}
	for pod, mine := range map[string]bool{"shop/web-0": true, "shop/web-*": true, "shop/web-1": false, "bank/web-0": false} {
		request := &pb.MitigateRequest{Profile: pb.MitigateRequest_PROFILE_KILL, Subject: &pb.MitigateRequest_Pod{Pod: pod}}
		p, _, err := pods.Policy(request)
		if refused := err != nil && strings.Contains(err.Error(), "pod "+pod+" includes process"); refused != mine || err != nil && !refused {
			t.Errorf("the daemon's own pod, %s: %v", pod, err)
		}
		if err == nil && (DescribeSubject(p.Subject) != "pod "+pod || pods.selectorOf(p.Subject).selects(pid)) {
			t.Errorf("%s: %v", pod, p.Subject)
		}
		if err == nil && !strings.HasPrefix(pods.NoMatchWarning(p.Subject), "no process is in a pod "+pod) {
			t.Errorf("%s: warning %q", pod, pods.NoMatchWarning(p.Subject))
		}
	}
	for pod, want := range map[string]string{"web-0": "is no pod; write NAMESPACE/NAME", "shop/": "pod name", "Shop/web": "namespace", "": "is no pod"} {
		request := &pb.MitigateRequest{Profile: pb.MitigateRequest_PROFILE_NO_EXEC, Subject: &pb.MitigateRequest_Pod{Pod: pod}}
		if _, _, err := pods.Policy(request); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("pod %q: %v", pod, err)
		}
	}
	if p, _, err := in("db", false).Policy(request); err != nil || DescribeSubject(p.Subject) != "container web" {
		t.Errorf("another container: %v, %v", err, p.Subject)
	}
}
