package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
)

// real is an event as Falco writes it, of a process and a time.
const real = `{"hostname":"web1","output":"Notice A shell was spawned (proc_pid=%[1]d)","output_fields":{"container.id":"host","evt.time":1764000000000000000,` +
	`"proc.cmdline":"sh -i","proc.name":"sh","proc.pid":%[1]d,"user.name":"www-data"},"priority":"Notice","rule":"Run shell untrusted","source":"syscall","tags":["shell"],"time":%[2]q}` + "\n"

func TestFollow(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the time since boot is that of Linux")
	}
	now, err := ebpfguard.Boottime()
	if err != nil {
		t.Fatal(err)
	}
	var messages bytes.Buffer
	log.SetOutput(&messages)
	defer log.SetOutput(io.Discard)
	var applied [][]policy.Policy
	old := policy.ProcessID{PID: 4711, Start: now - uint64(time.Minute)}
	g := mitigator{
		apply: func(set []policy.Policy) (ebpfguard.Changes, error) {
			applied = append(applied, set)
			return ebpfguard.Changes{}, policy.Validate(set)
		},
		find: func(pid int) (policy.ProcessID, error) {
			switch pid {
			case 4711:
				return old, nil
			case 4712:
				return policy.ProcessID{PID: 4712, Start: now - uint64(time.Second)}, nil
			}
			return policy.ProcessID{}, fmt.Errorf("looking for process %d: %w", pid, fs.ErrNotExist)
		},
	}
	ended := mitigation(policy.ProcessID{PID: 1, Start: 0}, 1, "")
	g.set = []policy.Policy{ended}
	at := func(ago time.Duration) string { return time.Now().Add(-ago).Format(time.RFC3339Nano) }
	events := fmt.Sprintf(real, 4711, at(time.Second)) + "Falco starts\n" + `{"rule":"none","output_fields":{}}` + "\n" +
		fmt.Sprintf(real, 99, at(0)) + fmt.Sprintf(real, 4712, at(30*time.Second)) + fmt.Sprintf(real, 4712, at(0)) + fmt.Sprintf(real, 4711, at(0))
	if err := g.follow(strings.NewReader(events)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Run shell untrusted: process 4711 is cut off for 10m0s\n", "no event of Falco: ", "none: the event has no process; add %proc.pid",
		"process 99 has ended already\n", "process 4712 has ended already, and another one has its pid", "process 4712 is cut off for 10m0s\n",
	} {
		if !strings.Contains(messages.String(), want) {
			t.Errorf("no %q in %q", want, messages.String())
		}
	}
	var names []string
	for _, set := range applied {
		for _, p := range set {
			names = append(names, p.Name)
		}
		names = append(names, "/")
	}
	if got := strings.Join(names, " "); got != "falco-4711 / falco-4711 falco-4712 / falco-4712 falco-4711 /" {
		t.Errorf("applied %s", got)
	}
	p := g.set[1]
	if p.Until < now+uint64(9*time.Minute) || p.Rules[0].Message != "Run shell untrusted" {
		t.Errorf("mitigation %+v", p)
	}
	for _, test := range []struct {
		who  policy.ProcessID
		want policy.Verdict
	}{{old, policy.Deny}, {policy.ProcessID{PID: 4711, Start: now}, policy.Allow}} {
		request := policy.Request{
			Process: policy.Process{IDs: []policy.ProcessID{test.who}}, Operation: policy.SocketConnect,
			Object: policy.Socket{Address: netip.MustParseAddr("192.0.2.1"), Port: 443, Protocol: policy.TCP},
		}
		if got := policy.Decide(g.set, request).Verdict; got != test.want {
			t.Errorf("%v: %v", test.who, got)
		}
	}
	// What was refused is not taken to be in force.
	g.apply = func([]policy.Policy) (ebpfguard.Changes, error) { return ebpfguard.Changes{}, errors.New("not today") }
	before := len(g.set)
	if err := g.act([]byte(fmt.Sprintf(real, 4712, at(0)))); err == nil || !strings.Contains(err.Error(), "not today") || len(g.set) != before {
		t.Errorf("%v, %d policies", err, len(g.set))
	}
}
