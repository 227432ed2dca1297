//go:build k8s_node

package node_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// attack is a forbidden action that a pod repeats until it is told to stop.
type attack struct {
	t         testing.TB
	namespace string
	pod       string
}

// startAttack repeats in a pod what a program does, and counts how often it is refused and how often it passes.
func startAttack(t testing.TB, namespace, pod, program string) *attack {
	t.Helper()
	a := &attack{t, namespace, pod}
	// Each file has a character for each time. kubectl does not wait for what has no output of its own.
	script := `rm -f /tmp/stop; : >/tmp/passed; : >/tmp/refused
while [ ! -e /tmp/stop ]; do if ` + program + `; then printf . >>/tmp/passed; else printf . >>/tmp/refused; fi; sleep 0.1; done </dev/null >/dev/null 2>&1 &`
	if out, status := inside(t, namespace, pod, "/bin/sh", "-c", script); status != 0 {
		t.Fatalf("start the attack in %s: %s", pod, out)
	}
	return a
}

// sofar returns how often it was refused and passed until now.
func (a *attack) sofar() (refused, passed int) {
	a.t.Helper()
	out, _ := inside(a.t, a.namespace, a.pod, "/bin/sh", "-c", "wc -c </tmp/refused; wc -c </tmp/passed")
	fields := strings.Fields(out)
	if len(fields) != 2 {
		a.t.Fatalf("count in %s: %q", a.pod, out)
	}
	refused, _ = strconv.Atoi(fields[0])
	passed, _ = strconv.Atoi(fields[1])
	return refused, passed
}

// end ends it. It is an error if something passed, or if nothing was tried.
func (a *attack) end() {
	a.t.Helper()
	inside(a.t, a.namespace, a.pod, "/bin/touch", "/tmp/stop")
	refused, passed := a.sofar()
	a.t.Logf("seen: refused %d times, passed %d times", refused, passed)
	if passed > 0 || refused == 0 {
		a.t.Errorf("what is forbidden passed %d times in %s and was refused %d times", passed, a.pod, refused)
	}
}

// onNode runs a script on the node itself.
func onNode(t testing.TB, script string) string {
	t.Helper()
	r, err := node.Run(context.Background(), "/usr/bin/busybox", "sh", "-c", script)
	if err != nil || r.Exit != 0 {
		t.Fatalf("on the node: %s: %v, %+v", script, err, r)
	}
	return r.Output
}

// uptime is the node's.
func uptime(t testing.TB) float64 {
	t.Helper()
	var seconds float64
	if _, err := fmt.Sscan(onNode(t, "cat /proc/uptime"), &seconds); err != nil {
		t.Fatal(err)
	}
	return seconds
}
