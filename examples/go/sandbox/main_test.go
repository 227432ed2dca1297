package main

import (
	"errors"
	"io"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/ebpfguard/ebpfguard/policy"
)

func TestSandbox(t *testing.T) {
	inside := policy.ProcessID{PID: 4711, Start: 1e12}
	for _, dir := range []string{"/home/u/project", "/"} {
		set := []policy.Policy{sandbox(inside, dir)}
		if err := policy.Validate(set); err != nil {
			t.Fatal(err)
		}
		for _, warning := range policy.Warnings(set) {
			t.Errorf("in %s: %v", dir, warning)
		}
	}
	set := []policy.Policy{sandbox(inside, "/home/u/project")}
	file := func(path string, access policy.Access) policy.File {
		return policy.File{Names: policy.Names{Path: path}, Access: access}
	}
	connect := func(address string) policy.Socket {
		return policy.Socket{Address: netip.MustParseAddr(address), Port: 443, Protocol: policy.TCP}
	}
	for _, test := range []struct {
		operation policy.Operation
		object    policy.Object
		want      policy.Verdict
	}{
		{policy.FileOpen, file("/home/u/project/src/x", policy.Write), policy.Allow},
		{policy.FileOpen, file("/tmp/x", policy.Write), policy.Allow},
		{policy.FileOpen, file("/dev/null", policy.Write), policy.Allow},
		{policy.FileOpen, file("/etc/passwd", policy.Read), policy.Allow},
		{policy.FileOpen, file("/etc/passwd", policy.Write), policy.Deny},
		{policy.FileOpen, file("/home/u/.bashrc", policy.Write), policy.Deny},
		{policy.FileOpen, file("/dev/sda", policy.Write), policy.Deny},
		{policy.SocketConnect, connect("127.0.0.1"), policy.Allow},
		{policy.SocketConnect, connect("::1"), policy.Allow},
		{policy.SocketConnect, connect("192.0.2.1"), policy.Deny},
		{policy.SocketConnect, connect("2001:db8::1"), policy.Deny},
	} {
		// What the command starts descends from it.
		child := policy.Process{IDs: []policy.ProcessID{{PID: 4720, Start: 2e12}, inside}}
		if got := policy.Decide(set, policy.Request{Process: child, Operation: test.operation, Object: test.object}).Verdict; got != test.want {
			t.Errorf("%v: %v, want %v", test.object, got, test.want)
		}
		other := policy.Process{IDs: []policy.ProcessID{{PID: 4800, Start: 2e12}}}
		if got := policy.Decide(set, policy.Request{Process: other, Operation: test.operation, Object: test.object}).Verdict; got != policy.Allow {
			t.Errorf("%v by another process: %v", test.object, got)
		}
	}
}

// TestGate expects that nothing starts when the gate is closed and never opened.
func TestGate(t *testing.T) {
	gate, open, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := open.Close(); err != nil {
		t.Fatal(err)
	}
	if err := become(gate, []string{"true"}); !errors.Is(err, io.EOF) || !strings.Contains(err.Error(), "true does not start") {
		t.Error(err)
	}
	gate, open, err = os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	if err := become(gate, []string{"no-such-command-anywhere"}); err == nil || !strings.Contains(err.Error(), "no-such-command-anywhere") {
		t.Error(err)
	}
}
