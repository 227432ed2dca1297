// Package examples holds policies to start from.
package examples

import (
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/ebpfguard/ebpfguard/policy"
)

// TestExamples holds each example against what its comment says.
func TestExamples(t *testing.T) {
	type attempt struct {
		binary   string
		address  string
		port     uint16
		protocol policy.Protocol
		want     policy.Verdict
	}
	examples := map[string][]attempt{
		"no-rogue-sshd.yaml": {
			{"/usr/sbin/sshd", "0.0.0.0", 22, policy.TCP, policy.Deny},
			{"/tmp/x", "::", 22, policy.TCP, policy.Deny},
			{"/usr/sbin/sshd", "0.0.0.0", 2222, policy.TCP, policy.Allow},
			{"/usr/sbin/nginx", "0.0.0.0", 80, policy.TCP, policy.Allow},
		},
		"only-sshd-on-22.yaml": {
			{"/usr/sbin/sshd", "0.0.0.0", 22, policy.TCP, policy.Allow},
			{"/tmp/sshd", "0.0.0.0", 22, policy.TCP, policy.Deny},
			{"/tmp/sshd", "0.0.0.0", 23, policy.TCP, policy.Allow},
		},
		"only-web-ports.yaml": {
			{"/usr/sbin/nginx", "0.0.0.0", 80, policy.TCP, policy.Allow},
			{"/usr/sbin/nginx", "::", 443, policy.UDP, policy.Allow},
			{"/usr/sbin/nginx", "::", 80, policy.UDP, policy.Deny},
			{"/usr/sbin/nginx", "0.0.0.0", 4444, policy.TCP, policy.Deny},
			{"/usr/sbin/sshd", "0.0.0.0", 4444, policy.TCP, policy.Allow},
		},
		"loopback-only.yaml": {
			{"/usr/bin/redis-server", "127.0.0.1", 6379, policy.TCP, policy.Allow},
			{"/usr/bin/redis-server", "::1", 6379, policy.TCP, policy.Allow},
			{"/usr/bin/redis-server", "0.0.0.0", 6379, policy.TCP, policy.Deny},
			{"/usr/bin/redis-server", "::", 6379, policy.TCP, policy.Deny},
			{"/usr/sbin/nginx", "0.0.0.0", 80, policy.TCP, policy.Allow},
		},
		"audit-first.yaml": {
			{"/usr/sbin/nginx", "0.0.0.0", 80, policy.TCP, policy.Allow},
			{"/usr/sbin/ftpd", "0.0.0.0", 21, policy.TCP, policy.Audit},
			{"/usr/sbin/ftpd", "0.0.0.0", 2121, policy.TCP, policy.Allow},
		},
	}
	files, err := filepath.Glob("*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(examples) {
		t.Errorf("%d files for %d examples: %v", len(files), len(examples), files)
	}
	for file, attempts := range examples {
		t.Run(file, func(t *testing.T) {
			set, err := policy.Load(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, warning := range policy.Warnings(set) {
				t.Error(warning)
			}
			for _, a := range attempts {
				got := policy.Decide(set, policy.Request{
					Process:   policy.Process{Binary: a.binary},
					Operation: policy.SocketBind,
					Object:    policy.Socket{Address: netip.MustParseAddr(a.address), Port: a.port, Protocol: a.protocol},
				})
				if got.Verdict != a.want {
					t.Errorf("%+v: verdict %v, want %v", a, got.Verdict, a.want)
				}
			}
		})
	}
	// They do not contradict each other by name.
	if _, err := policy.Load("."); err != nil {
		t.Error(err)
	}
}
