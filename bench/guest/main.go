// Command guest measures, in a virtual machine whose clock counts instructions,
// what the guard costs the programs that it judges. It prints a line of JSON for
// each result; bench/main.go runs it.
package main

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/internal/bpf"
	"github.com/ebpfguard/ebpfguard/policy"
)

// result is how many instructions something takes, with a setup.
type result struct {
	Setup    string  `json:"setup"`
	Workload string  `json:"workload"`
	Value    float64 `json:"value"`
}

var (
	setups = flag.String("setups", "", "measure only setups that match this `regexp`")
	works  = flag.String("workloads", "", "measure only workloads that match this `regexp`")
	most   = flag.Int("rules", 1_000_000, "measure with at most this `number` of rules or networks")
	armor  = flag.Bool("apparmor", false, "measure AppArmor, with which the kernel was booted, and nothing else")
	sizes  = flag.Bool("memory", false, "measure memory, and nothing else")
	served = flag.Bool("daemon", false, "measure the daemon's memory, and nothing else")
	inside = flag.Bool("landlock", false, "execute the command that follows, confined by Landlock")
)

const (
	landlockSetup = "Landlock, 10 rules"
	deniedSetup   = "denied, with an alert"
)

func main() {
	flag.Parse()
	if *inside {
		landlock(flag.Args())
	}
	if *served {
		daemonMemory()
		return
	}
	makeFiles()
	if *sizes {
		memory()
		return
	}
	// What comes first after the boot takes longer, whatever it is: up to twice as
	// long while the kernel's own threads finish what they began. An idle guest's
	// clock jumps, so waiting takes no time.
	time.Sleep(20 * time.Second)
	for _, w := range workloads {
		if w.wanted() && w.calm() {
			w.run(false)
		}
	}
	wanted := func(setup string) bool { return regexp.MustCompile(*setups).MatchString(setup) }
	if *armor {
		appArmor(wanted)
		return
	}
	measure("nothing attached", workload.always)
	if wanted("empty programs") {
		detach := attachEmpty()
		measure("empty programs", workload.always)
		detach()
	}
	for _, p := range parts {
		if *setups != "" && wanted(p.name) { // only when they are asked for
			detach := attachPart(p)
			measure(p.name, func(w workload) bool { return strings.HasPrefix(w.name, p.work) })
			detach()
		}
	}
	if wanted(landlockSetup) && haveLandlock() {
		measure(landlockSetup, func(w workload) bool { return !w.mounts }, "/proc/self/exe", "-landlock", "--")
	}
	ours := []string{"no policies", "allowed by a rule", deniedSetup, networksSetup}
	for n := 1; n <= 100_000; n *= 10 {
		ours = append(ours, rulesSetup(n))
	}
	for _, c := range conditions {
		ours = append(ours, c.name)
	}
	if !slices.ContainsFunc(ours, wanted) {
		return
	}
	start := time.Now()
	m, err := ebpfguard.NewManager(ebpfguard.Options{AlertBytes: 64 << 20, AllowGaps: true})
	must(err)
	for _, g := range groups {
		must(m.Attach(g.operation))
	}
	fmt.Fprintf(os.Stderr, "# everything was loaded and attached in %d million instructions\n", time.Since(start).Milliseconds())
	if wanted("no policies") {
		measure("no policies", workload.calm)
	}
	for _, g := range groups {
		ofGroup := func(w workload) bool { return w.group == g.name }
		if !anyWanted(ofGroup) {
			continue
		}
		for n := 1; n <= min(g.most, *most); n *= 10 {
			if name := rulesSetup(n); wanted(name) {
				apply(m, name, others(g.operation, g.other, n))
				measure(name, ofGroup)
			}
		}
		if g.operation == policy.SocketConnect && *most >= manyNetworks && wanted(networksSetup) {
			apply(m, networksSetup, networks(manyNetworks))
			measure(networksSetup, ofGroup)
		}
		for _, deny := range []bool{false, true} {
			name := map[bool]string{false: "allowed by a rule", true: deniedSetup}[deny]
			if wanted(name) {
				apply(m, name, matching(g.operation, g.matching, deny))
				measure(name, ofGroup)
			}
		}
		_, err := m.Apply(nil)
		must(err)
	}
	for _, c := range conditions {
		concerned := func(w workload) bool { return c.works.MatchString(w.name) }
		if wanted(c.name) && *most >= beside && anyWanted(concerned) {
			apply(m, c.name, c.set())
			if c.name == containersSetup {
				addContainers(m)
			}
			measure(c.name, concerned)
		}
	}
	must(m.Close())
}

// apply applies a set and tells what it took.
func apply(m *ebpfguard.Manager, name string, set []policy.Policy) {
	start := time.Now()
	_, err := m.Apply(set)
	must(err)
	fmt.Fprintf(os.Stderr, "# %s for %s applied in %d million instructions\n", name, set[0].Rules[0].Operation, time.Since(start).Milliseconds())
	runtime.GC()
	time.Sleep(time.Second) // until the kernel has freed the former set
}

func (w workload) wanted() bool { return regexp.MustCompile(*works).MatchString(w.name) }

func (w workload) always() bool { return true }

// calm tells that the workload is measured with every setup.
func (w workload) calm() bool { return w.group != "storm" && w.group != "names" }

func anyWanted(concerned func(workload) bool) bool {
	return slices.ContainsFunc(workloads, func(w workload) bool { return w.wanted() && concerned(w) })
}

func rulesSetup(n int) string {
	if n == 1 {
		return "1 rule"
	}
	return strconv.Itoa(n) + " rules"
}

// measure measures those workloads that it is told, of all that are wanted. The command
// before, if there is one, executes the workload.
func measure(setup string, concerned func(workload) bool, before ...string) {
	for _, w := range workloads {
		if !w.wanted() || !concerned(w) {
			continue
		}
		for name, value := range w.run(setup == deniedSetup, before...) {
			print(setup, name, value)
		}
	}
}

// attachEmpty attaches a program that does nothing to every hook that the guard
// uses: less is not possible.
func attachEmpty() (detach func()) {
	var links []link.Link
	hooks := []string{"task_alloc", "bprm_creds_for_exec", "bprm_committed_creds"}
	for _, name := range abi.HookNames {
		if name != "file_permission" { // attached for rules that revoke only
			hooks = append(hooks, name)
		}
	}
	for _, name := range hooks {
		if ok, err := bpf.HasHook(name); err != nil || !ok {
			continue
		}
		p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
			Type: ebpf.LSM, AttachType: ebpf.AttachLSMMac, AttachTo: name, License: "Dual BSD/GPL",
			Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
		})
		must(err)
		l, err := link.AttachLSM(link.LSMOptions{Program: p})
		must(err)
		must(p.Close())
		links = append(links, l)
	}
	return func() {
		for _, l := range links {
			must(l.Close())
		}
	}
}
