package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ebpfguard/ebpfguard"
)

// newCleaner returns a cleaner of a node with a state, whose pins answer one after the other what is given.
func newCleaner(t *testing.T, answers ...any) (*cleaner, *bytes.Buffer) {
	t.Helper()
	state := filepath.Join(t.TempDir(), "lib", "ebpfguard")
	if err := errors.Join(os.MkdirAll(state, 0o700), os.WriteFile(filepath.Join(state, "cluster.yaml"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	return &cleaner{pins: "/pins", state: state, patience: time.Second, interval: time.Millisecond, out: &out, removePins: func(path string, all bool) (bool, error) {
		if path != "/pins" || !all {
			t.Errorf("asked to remove %s, all: %t", path, all)
		}
		answer := answers[0]
		if len(answers) > 1 {
			answers = answers[1:]
		}
		if err, ok := answer.(error); ok {
			return false, err
		}
		return answer.(bool), nil
	}}, &out
}

func TestCleanup(t *testing.T) {
	inUse := fmt.Errorf("opening: %w", ebpfguard.ErrPinsInUse)
	for _, tt := range []struct {
		name    string
		answers []any
		says    string
		fails   string
	}{
		{"pins and state", []any{true}, "enforcement has ended; removed the pins in /pins", ""},
		{"state alone", []any{false}, "removed the state in", ""},
		{"an agent that ends", []any{inUse, inUse, true}, "waiting for the agent", ""},
		{"an agent that stays", []any{inUse}, "waiting for the agent", "is there another daemon on this node"},
		{"a failure", []any{errors.New("no bpf filesystem")}, "", "no bpf filesystem"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, out := newCleaner(t, tt.answers...)
			if tt.fails != "" {
				c.patience = 20 * time.Millisecond
			}
			err := c.run(t.Context())
			if tt.fails == "" && err != nil || tt.fails != "" && (err == nil || !strings.Contains(err.Error(), tt.fails)) {
				t.Errorf("%v, want %q", err, tt.fails)
			}
			if !strings.Contains(out.String(), tt.says) {
				t.Errorf("it says %q, want %q", out, tt.says)
			}
			// While an agent runs, what it remembers is not taken from it.
			if _, err := os.Stat(c.state); (err == nil) != (tt.fails != "") {
				t.Errorf("the state: %v", err)
			}
		})
	}
}

func TestCleanupTwice(t *testing.T) {
	c, out := newCleaner(t, true, false)
	if err := errors.Join(c.run(t.Context()), c.run(t.Context())); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "nothing to remove") {
		t.Errorf("%q", out)
	}
}

// TestCleanupRefuses asserts that a wrong value cannot remove a system.
func TestCleanupRefuses(t *testing.T) {
	c, _ := newCleaner(t, false)
	for _, state := range []string{"/", "/var/", "/var"} {
		c.state = state
		if _, err := c.remove(); err == nil || !strings.Contains(err.Error(), "is a directory of the root") {
			t.Errorf("%s: %v", state, err)
		}
	}
}

// TestCleanupStays asserts that what an agent makes which was just starting is removed as well.
func TestCleanupStays(t *testing.T) {
	c, _ := newCleaner(t, fmt.Errorf("opening: %w", ebpfguard.ErrPinsInUse), false)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	context.AfterFunc(ctx, func() {
		if _, err := os.Stat(c.state); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the state: %v", err)
		}
	})
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(c.state); err != nil {
				cancel()
			}
			time.Sleep(time.Millisecond)
		}
	}()
	c.stay(ctx)
	if !errors.Is(ctx.Err(), context.Canceled) {
		t.Error("the state was not removed within a minute")
	}
}

// cleanedCluster answers as the API server of a cluster whose agents end after some questions, with nodes of which some are
// clean.
func cleanedCluster(t *testing.T, agents, ready, nodes int) waiter {
	t.Helper()
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch q := r.URL.Query(); {
		case r.URL.Path == "/api/v1/namespaces/guard/pods" && q.Get("labelSelector") == agentSelector && q.Get("limit") != "":
			if int(asked.Add(1)) <= agents {
				fmt.Fprint(w, `{"metadata":{"continue":"x"},"items":[{"spec":{"nodeName":"node-7"}}]}`)
				return
			}
			fmt.Fprint(w, `{"metadata":{},"items":[]}`)
		case r.URL.Path == "/api/v1/namespaces/guard/pods" && q.Get("labelSelector") == cleanupSelector && q.Get("fieldSelector") == "status.phase!=Running":
			fmt.Fprint(w, `{"items":[{"spec":{"nodeName":"node-2"}},{"spec":{"nodeName":"node-1"}},{"spec":{}}]}`)
		case r.URL.Path == "/apis/apps/v1/namespaces/guard/daemonsets/ebpfguard-cleanup":
			fmt.Fprintf(w, `{"metadata":{"generation":2},"status":{"observedGeneration":2,"numberReady":%d,"desiredNumberScheduled":%d}}`, ready, nodes)
		default:
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprintf(w, `{"kind":"Status","message":"%s is forbidden"}`, r.URL.Path)
		}
	}))
	t.Cleanup(server.Close)
	return waiter{client: server.Client(), server: server.URL, namespace: "guard", timeout: 10 * time.Second, interval: time.Millisecond, settled: time.Millisecond, out: new(bytes.Buffer)}
}

func TestAwaitCleanup(t *testing.T) {
	w := cleanedCluster(t, 3, 2, 2)
	if err := w.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if said := fmt.Sprint(w.out); said != "every node is clean\n" {
		t.Errorf("it says %q", said)
	}
}

func TestAwaitCleanupFails(t *testing.T) {
	for _, tt := range []struct {
		name                 string
		agents, ready, nodes int
		namespace, want      string
	}{
		{"agents that stay", 1 << 30, 2, 2, "guard", "agents still run on node-7 and more;"},
		{"nodes that are not clean", 0, 1, 4, "guard", "1 of 4 nodes are clean; look at the cleanup's pods on no node yet, node-1, node-2: kubectl -n guard logs"},
		{"a refusal", 0, 2, 2, "other", "the API server answers 403 Forbidden: /api/v1/namespaces/other/pods is forbidden"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := cleanedCluster(t, tt.agents, tt.ready, tt.nodes)
			w.timeout, w.namespace = 200*time.Millisecond, tt.namespace
			if err := w.run(t.Context()); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}
