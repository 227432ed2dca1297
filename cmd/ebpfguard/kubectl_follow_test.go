package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestFollow follows nodes whose daemons end again and again: each alert is printed once, and what may be missing is said.
func TestFollow(t *testing.T) {
	dir := t.TempDir()
	guard, socket, stop, err := serveGuard(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if err := guard.fill(); err != nil {
		t.Fatal(err)
	}
	api := newAPIServer(socket)
	server := httptest.NewServer(api)
	defer server.Close()
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(kubeconfig, kubeconfigFor(server.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	root := newPluginCommand()
	root.SetContext(ctx)
	var stdout, stderr lockedBuffer
	ended := make(chan int)
	go func() {
		ended <- execute(root, []string{"alerts", "-A", "--follow", "--tail", "2", "--kubeconfig", kubeconfig, "-o", "json"}, &stdout, &stderr)
	}()
	// Once for what there was, then two connections to each node.
	deadline := time.Now().Add(time.Minute)
	for api.executed("ebpfguard-a") < 3 || api.executed("ebpfguard-c") < 3 {
		if time.Now().After(deadline) {
			t.Fatalf("it does not follow: %s", stderr.String())
		}
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	if code := <-ended; code != exitFailed {
		t.Errorf("exit code %d, want 1: nodes could not be asked", code)
	}
	// Of the three alerts of each node the last two of all were shown first. None comes again.
	for node, want := range map[string]int{"a": 0, "c": 2} {
		if got := strings.Count(stdout.String(), fmt.Sprintf(`{"node":%q,`, node)); got != want {
			t.Errorf("%d alerts of node %s, want %d: %s", got, node, want, stdout.String())
		}
	}
	for _, want := range []string{
		"4 older alerts are not shown", "node b: run a command in the pod", "node a: alerts: the daemon has ended; what it pinned stays in force, see 'systemctl status ebpfguard'", "; it is tried again, and alerts may be missing",
	} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("the standard error lacks %q: %s", want, stderr.String())
		}
	}
}

// TestFollowNew begins with a node that had no alerts: those that come are printed, in the order of their times.
func TestFollowNew(t *testing.T) {
	var out bytes.Buffer
	cmd := newPluginCommand()
	cmd.SetOut(&out)
	cmd.SetErr(&bytes.Buffer{})
	ctx, cancel := context.WithCancel(t.Context())
	f := &following{clusterAlerts: &clusterAlerts{}, merge: &alertMerge{cmd: cmd, format: outputJSON}, came: make(chan nodeAlert), told: map[string]string{}, last: map[string]nodeAlert{}}
	done := make(chan error)
	go func() { done <- f.print(ctx) }()
	line := func(sequence int) []byte {
		return fmt.Appendf(nil, `{"time":"2026-11-22T15:04:%02dZ","boot_id":"x","sequence":%d}`, sequence, sequence)
	}
	before := nodeAlert{BootID: "x", Sequence: 2}
	for _, sequence := range []int{1, 2, 4, 3} {
		f.take(ctx, "a", before, line(sequence))
	}
	f.take(ctx, "b", nodeAlert{BootID: "of a former boot", Sequence: 100}, line(5))
	f.take(ctx, "b", nodeAlert{}, []byte("\x1b[2J"))
	time.Sleep(3 * orderTime)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	want := `{"node":"a","time":"2026-11-22T15:04:03Z","boot_id":"x","sequence":3}
{"node":"a","time":"2026-11-22T15:04:04Z","boot_id":"x","sequence":4}
{"node":"b","time":"2026-11-22T15:04:05Z","boot_id":"x","sequence":5}
`
	if out.String() != want {
		t.Errorf("got\n%s, want\n%s", out.String(), want)
	}
}

// lockedBuffer is written by one goroutine while another reads.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}
