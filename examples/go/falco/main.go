// Falco cuts the process of each event of Falco off the network, with all that it has started and will
// start, for ten minutes. Falco detects; this program acts:
//
//	go build -o bin/ ./examples/go/falco
//	sudo falco -o json_output=true -o priority=warning | sudo bin/falco
//
// Each line of the standard input is an event. Its rule must have %proc.pid in its output.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
)

// lasting is how long a process stays cut off.
const lasting = 10 * time.Minute

func main() {
	log.SetFlags(0)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdin); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, events io.Reader) error {
	m, err := ebpfguard.NewManager(ebpfguard.Options{})
	if err != nil {
		return err
	}
	defer m.Close()
	// The first programs take seconds to load. An event must not wait for that.
	if err := m.Attach(policy.SocketBind, policy.SocketConnect); err != nil {
		return err
	}
	g := mitigator{apply: m.Apply, find: ebpfguard.RunningProcess}
	done := make(chan error, 1)
	go func() { done <- g.follow(events) }()
	select {
	case <-ctx.Done():
		return nil
	case err := <-done:
		if err != nil {
			return err
		}
	}
	// Falco has ended. What it found stays cut off for its time, which ends by itself in the kernel.
	select {
	case <-ctx.Done():
	case <-time.After(lasting):
	}
	return nil
}

// event is what an event of Falco says of the process.
type event struct {
	Time   time.Time `json:"time"`
	Rule   string    `json:"rule"`
	Fields struct {
		PID int `json:"proc.pid"`
	} `json:"output_fields"`
}

// mitigator knows the mitigations in force.
type mitigator struct {
	apply func([]policy.Policy) (ebpfguard.Changes, error)
	find  func(pid int) (policy.ProcessID, error)
	set   []policy.Policy
}

// follow acts on events, one a line, until there are no more.
func (g *mitigator) follow(events io.Reader) error {
	lines := bufio.NewScanner(events)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		// An event that cannot be acted on is no reason to miss the next.
		if err := g.act(lines.Bytes()); err != nil {
			log.Print(err)
		}
	}
	return lines.Err()
}

// act cuts the process of an event off.
func (g *mitigator) act(line []byte) error {
	var e event
	if err := json.Unmarshal(line, &e); err != nil {
		return fmt.Errorf("no event of Falco: %w; start it with -o json_output=true", err)
	}
	if e.Fields.PID == 0 {
		return fmt.Errorf("%s: the event has no process; add %%proc.pid to the output of the rule", e.Rule)
	}
	process, err := g.find(e.Fields.PID)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: process %d has ended already", e.Rule, e.Fields.PID)
	}
	if err != nil {
		return err
	}
	now, err := ebpfguard.Boottime()
	if err != nil {
		return err
	}
	// The pid may be that of another process by now: one that was started after the event. Starts are
	// exact to 10 ms.
	if age := time.Duration(now - process.Start); !e.Time.IsZero() && time.Since(e.Time) > age+10*time.Millisecond {
		return fmt.Errorf("%s: process %d has ended already, and another one has its pid", e.Rule, e.Fields.PID)
	}
	until, err := ebpfguard.EndsIn(lasting)
	if err != nil {
		return err
	}
	p := mitigation(process, until, e.Rule)
	next := slices.DeleteFunc(slices.Clone(g.set), func(other policy.Policy) bool { return other.Name == p.Name || other.Until <= now })
	next = append(next, p)
	if _, err := g.apply(next); err != nil {
		return fmt.Errorf("%s: %w", e.Rule, err)
	}
	g.set = next
	log.Printf("%s: process %d is cut off for %v", e.Rule, e.Fields.PID, lasting)
	return nil
}

// mitigation cuts a process off, also from the connections that it has open.
func mitigation(process policy.ProcessID, until uint64, why string) policy.Policy {
	all := []policy.Pattern{policy.SocketPattern{All: true}}
	return policy.Policy{
		Name:    fmt.Sprintf("falco-%d", process.PID),
		Subject: policy.Subject{Processes: []policy.ProcessID{process}},
		Until:   until,
		Rules: []policy.Rule{
			{Operation: policy.SocketConnect, Deny: all, Revoke: true, Message: why},
			{Operation: policy.SocketBind, Deny: all, Revoke: true, Message: why},
		},
	}
}
