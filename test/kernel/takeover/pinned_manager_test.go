//go:build vm

package takeover

import (
	"bufio"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
	_ "unsafe" // for go:linkname

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

const pinPath = "/sys/fs/bpf/ebpfguard"

// pinnedOptions are those of every manager here.
func pinnedOptions() ebpfguard.Options {
	return ebpfguard.Options{PinPath: pinPath, AutoAttach: true, AllowGaps: true, AlertBytes: 1 << 20}
}

// replacedSet is what a manager says when it has replaced its set once.
const replacedSet = "replaced"

// order is what a pinned manager in a process of its own is told.
type order struct {
	Set []policy.Policy
	// Containers are told of after the set is in force, by their control groups.
	Containers map[uint64]policy.Container
	// Replace, if there is one, is what forbids the same in many sets, which are applied
	// one after the other until the process is killed.
	Replace *policy.Policy
	// Build and Layout make it another version.
	Build, Layout string
}

// registerOrders lets both sides know what patterns can be.
func registerOrders() {
	for _, p := range []policy.Pattern{policy.FilePattern{}, policy.ProgramPattern{}, policy.MountPattern{}, policy.CredentialsPattern{}, policy.SocketPattern{}} {
		gob.Register(p)
	}
}

// The variables that the linker sets in another version (internal/bpf).
//
//go:linkname buildSalt github.com/ebpfguard/ebpfguard/internal/bpf.buildSalt
var buildSalt string

//go:linkname layout github.com/ebpfguard/ebpfguard/internal/bpf.layout
var layout string

// managePinned enforces, says what it took over, and waits to be killed.
func managePinned() {
	var o order
	registerOrders()
	if err := gob.NewDecoder(os.Stdin).Decode(&o); err != nil {
		fmt.Println("error", err)
		return
	}
	buildSalt = o.Build
	if o.Layout != "" {
		layout = o.Layout
	}
	m, err := ebpfguard.NewManager(pinnedOptions())
	if err != nil {
		fmt.Println("error", err)
		return
	}
	former, _ := m.Takeover()
	if o.Set != nil {
		if _, err := m.Apply(o.Set); err != nil {
			fmt.Println("error", err)
			return
		}
	}
	for cgroup, c := range o.Containers {
		if err := m.AddContainer(cgroup, c); err != nil {
			fmt.Println("error", err)
			return
		}
	}
	fmt.Println("ready", former.Revision, len(former.Policies), former.Renewed, former.Migrated)
	for i := 0; o.Replace != nil; i++ {
		if _, err := m.Apply(guardtest.Replacement(*o.Replace, i)); err != nil {
			fmt.Println("error", err)
			return
		}
		if i == 0 {
			fmt.Println(replacedSet)
		}
	}
	for { // an empty select is a deadlock to Go's runtime
		time.Sleep(time.Hour)
	}
}

// pinnedManager is a manager in a process of its own.
type pinnedManager struct {
	command *exec.Cmd
	out     *bufio.Reader
}

// startPinned starts one and returns what it said when it enforced.
func startPinned(t *testing.T, o order) (*pinnedManager, string) {
	t.Helper()
	p, line := tryPinned(t, o)
	if !strings.HasPrefix(line, "ready") {
		p.kill(t)
		t.Fatalf("the manager said %q", line)
	}
	return p, line
}

// tryPinned starts one and returns what it said first.
func tryPinned(t *testing.T, o order) (*pinnedManager, string) {
	t.Helper()
	registerOrders()
	p := &pinnedManager{command: guardtest.Self("pinned")}
	in, err := p.command.StdinPipe()
	guardtest.Check(t, err)
	out, err := p.command.StdoutPipe()
	guardtest.Check(t, err)
	p.out = bufio.NewReader(out)
	guardtest.Check(t, p.command.Start())
	guardtest.Check(t, errors.Join(gob.NewEncoder(in).Encode(o), in.Close()))
	line, err := p.out.ReadString('\n')
	if err != nil {
		t.Fatalf("the manager said %q, %v", line, err)
	}
	return p, strings.TrimSpace(line)
}

// hear waits until it says a line.
func (p *pinnedManager) hear(t *testing.T, want string) {
	t.Helper()
	if line, err := p.out.ReadString('\n'); err != nil || strings.TrimSpace(line) != want {
		t.Errorf("the manager said %q, %v, want %q", line, err, want)
	}
}

// kill kills it and fails if it said that anything went wrong.
func (p *pinnedManager) kill(t *testing.T) {
	t.Helper()
	p.command.Process.Kill()
	rest, err := io.ReadAll(p.out)
	p.command.Wait()
	if said := strings.TrimSpace(string(rest)); said != "" && said != replacedSet || err != nil {
		t.Errorf("the manager said %q, %v", rest, err)
	}
}

// cleanPins removes what a failed test left.
func cleanPins(t *testing.T) {
	t.Cleanup(func() {
		if _, err := ebpfguard.RemovePins(pinPath, true); err != nil {
			t.Error(err)
		}
	})
}

func nobodyBinds(name string, ports ...uint16) policy.Policy {
	return policy.Policy{Name: name, Subject: policy.Subject{Everyone: true}, Rules: []policy.Rule{
		{Operation: policy.SocketBind, Deny: []policy.Pattern{guardtest.Ports(ports...)}, Message: "nobody binds"},
	}}
}

func policyNames(set []policy.Policy) (names []string) {
	for _, p := range set {
		names = append(names, p.Name)
	}
	return names
}
