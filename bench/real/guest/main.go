// Command guest runs, in a virtual machine whose clock counts instructions, what
// people run on servers: without the guard and with it, in turn. It prints a line
// of JSON for each measurement; bench/real/main.go runs it.
package main

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
)

// result is how many instructions a workload took: in all tasks together, idle
// time left out.
type result struct {
	Setup    string `json:"setup"`
	Workload string `json:"workload"`
	Round    int    `json:"round"`
	Value    int64  `json:"value"`
}

var (
	turns = flag.Int("rounds", 3, "do everything so many `times`")
	works = flag.String("workloads", "", "measure only workloads that match this `regexp`")
)

//go:embed policies.yaml
var policies []byte

func main() {
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "real:", err)
		os.Exit(1)
	}
}

func run() error {
	if err := os.WriteFile("/proc/sys/kernel/sched_schedstats", []byte("1"), 0); err != nil {
		return err
	}
	set, err := policy.Parse("policies.yaml", policies)
	if err != nil {
		return err
	}
	if err := makeFiles(); err != nil {
		return err
	}
	// What comes first after the boot takes longer.
	if err := measure("", 0); err != nil {
		return err
	}
	for round := range *turns {
		if err := measure("no guard", round); err != nil {
			return err
		}
		if err := guarded(set, round); err != nil {
			return err
		}
	}
	return nil
}

// guarded attaches the guard, measures with one policy set after the other, and
// detaches it.
func guarded(set []policy.Policy, round int) (err error) {
	m, err := ebpfguard.NewManager(ebpfguard.Options{AllowGaps: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	if err := m.Attach(policy.Operations()...); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		for alert := range m.Alerts(ctx) {
			fmt.Printf("# alert: %+v\n", alert)
		}
	}()
	// The rule that revokes comes last, and with the former set.
	for _, setup := range []struct {
		name string
		set  []policy.Policy
	}{
		{"no policies", nil},
		{"policies", set},
		{"policies and 1,000 paths", append([]policy.Policy{thousandPaths()}, set...)},
		{"policies, one revokes", append([]policy.Policy{revoking()}, set...)},
	} {
		if _, err := m.Apply(setup.set); err != nil {
			return err
		}
		runtime.GC()
		time.Sleep(time.Second) // until the kernel has freed the former set
		before, err := denials(m)
		if err != nil {
			return err
		}
		if err := measure(setup.name, round); err != nil {
			return fmt.Errorf("with %s: %w", setup.name, err)
		}
		after, err := denials(m)
		if err != nil {
			return err
		}
		if after != before {
			return fmt.Errorf("with %s the guard denied %d times what the workloads do: correct policies.yaml", setup.name, after-before)
		}
		if err := inForce(setup.set != nil); err != nil {
			return fmt.Errorf("with %s: %w", setup.name, err)
		}
	}
	return nil
}

// denials returns how often anything was denied or would have been.
func denials(m *ebpfguard.Manager) (n uint64, err error) {
	for _, operation := range policy.Operations() {
		stats, err := m.Stats(operation)
		if err != nil {
			return 0, err
		}
		n += stats.Denied + stats.Audited
	}
	return n, nil
}

// inForce makes sure that something was measured: what the policies forbid is
// refused, and without them it is not.
func inForce(want bool) error {
	f, err := os.Open("/etc/shadow")
	if err == nil {
		f.Close()
	}
	if refused := errors.Is(err, unix.EPERM); refused != want {
		return fmt.Errorf("open(2) of /etc/shadow: %v", err)
	}
	return nil
}

// thousandPaths is a policy for everyone of rules that match nothing.
func thousandPaths() policy.Policy {
	p := policy.Policy{Name: "paths", Subject: policy.Subject{Everyone: true}}
	for i := range 1000 {
		path := fmt.Sprintf("/srv/%d/secret/%d", i%100, i)
		p.Rules = append(p.Rules, policy.Rule{Operation: policy.FileOpen, Deny: []policy.Pattern{policy.FilePattern{Paths: []string{path}}}})
	}
	return p
}

// revoking is a policy that concerns open files too: every read and write is judged.
func revoking() policy.Policy {
	return policy.Policy{Name: "revoking", Subject: policy.Subject{Everyone: true}, Rules: []policy.Rule{{
		Operation: policy.FileOpen, Deny: []policy.Pattern{policy.FilePattern{Paths: []string{"/etc/secrets/"}}}, Revoke: true,
	}}}
}

// measure measures the workloads; with no name of a setup it only runs them.
func measure(setup string, round int) error {
	for _, w := range workloads {
		if !regexp.MustCompile(*works).MatchString(w.name) {
			continue
		}
		for i := range w.times {
			name := w.name
			if i == 0 && w.first != "" {
				name = w.first
			}
			value, wall, err := w.measure()
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if setup == "" {
				break
			}
			fmt.Printf("# %s, %s: %.1f million, %.1f with idle time\n", name, setup, float64(value)/1e6, float64(wall.Microseconds())/1e3)
			line, err := json.Marshal(result{setup, name, round, value})
			if err != nil {
				return err
			}
			fmt.Println(string(line))
		}
	}
	return nil
}

func (w workload) measure() (value int64, wall time.Duration, err error) {
	if w.prepare != nil {
		if err := w.prepare(); err != nil {
			return 0, 0, err
		}
	}
	unix.Sync() // what was written before is not this workload's
	runtime.GC()
	before, err := busy()
	if err != nil {
		return 0, 0, err
	}
	start := time.Now()
	if err := w.run(); err != nil {
		return 0, 0, err
	}
	wall = time.Since(start)
	after, err := busy()
	if err == nil && w.finish != nil {
		err = w.finish()
	}
	return after - before, wall, err
}

// busy returns for how many nanoseconds the only processor has run tasks: the
// seventh figure of its line (Documentation/scheduler/sched-stats.rst). QEMU
// lets an instruction take one.
func busy() (int64, error) {
	// What this process has used since it was scheduled is not in it yet.
	time.Sleep(time.Millisecond)
	f, err := os.Open("/proc/schedstat")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 7 && fields[0] == "cpu0" {
			return strconv.ParseInt(fields[7], 10, 64)
		}
	}
	return 0, errors.New("/proc/schedstat has no cpu0")
}
