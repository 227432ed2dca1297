package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/cilium/ebpf"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/internal/footprint"
	"github.com/ebpfguard/ebpfguard/policy"
)

// sets are those whose memory is measured.
var sets = []struct {
	name string
	make func() []policy.Policy
}{
	{"no rules", func() []policy.Policy { return nil }},
	{"1000 paths", func() []policy.Policy { return paths(1000) }},
	{"100000 paths", func() []policy.Policy { return paths(100_000) }},
	{networksSetup, func() []policy.Policy { return networks(manyNetworks) }},
}

// paths is a policy of so many rules of a path each.
func paths(count int) []policy.Policy {
	return others(policy.FileOpen, groups[0].other, count)
}

// memory measures what the guard takes: for sets from the smallest to the largest, and
// for each file. The guard is loaded once, since an emulated kernel takes a
// minute to verify it.
func memory() {
	fmt.Fprintln(os.Stderr, "# memory of files")
	files := storage()
	m := guard()
	fmt.Fprintln(os.Stderr, "# the guard is loaded")
	apply(m, rulesSetup(10), paths(10))
	print("with rules of files", "bytes of the kernel's for a file that was opened", storage()-files)
	for _, s := range sets {
		fmt.Fprintf(os.Stderr, "# memory of %s\n", s.name)
		memoryOf(m, s.name, s.make())
	}
	must(m.Close())
}

// daemonMemory measures what the daemon takes.
func daemonMemory() {
	folder, err := os.MkdirTemp("", "daemon-")
	must(err)
	fmt.Fprintln(os.Stderr, "# memory of the daemon")
	f, err := footprint.Measure(context.Background(), "/usr/bin/ebpfguard", folder, os.Stderr)
	must(err)
	setup := fmt.Sprintf("%d rules", footprint.Rules)
	print(setup, "bytes of the daemon, at the most until it enforces", float64(f.Start))
	print(setup, "bytes of the daemon, at rest", float64(f.Idle))
	print(setup, "bytes of the daemon, at the most in a storm", float64(f.Storm))
}

func guard() *ebpfguard.Manager {
	m, err := ebpfguard.NewManager(ebpfguard.Options{AllowGaps: true})
	must(err)
	for _, g := range groups {
		must(m.Attach(g.operation))
	}
	return m
}

func print(setup, quantity string, value float64) {
	line, err := json.Marshal(result{setup, quantity, value})
	must(err)
	fmt.Println(string(line))
}

// memoryOf prints what this process, and the kernel for it, need for a set.
func memoryOf(m *ebpfguard.Manager, name string, set []policy.Policy) {
	debug.FreeOSMemory()
	must(os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)) // what was resident at the most is forgotten
	start := time.Now()
	_, err := m.Apply(set)
	must(err)
	print(name, "compile and apply, instructions", float64(time.Since(start)))
	debug.FreeOSMemory()
	time.Sleep(time.Second) // until the kernel has freed the former set
	maps := map[string]float64{"alerts": 0}
	must(eachMap(func(name string, bytes uint64) {
		if name != "alerts" {
			name = "other maps"
		}
		maps[name] += float64(bytes)
	}))
	print(name, "bytes of the buffer of alerts", maps["alerts"])
	print(name, "bytes of all other maps", maps["other maps"])
	print(name, "bytes of resident memory", 1024*field("/proc/self/status", "VmRSS"))
	print(name, "bytes of resident memory at the most", 1024*field("/proc/self/status", "VmHWM"))
}

// eachMap goes through all maps of the kernel, which are the guard's: the process
// holds no descriptors of those that lie within others.
func eachMap(each func(name string, bytes uint64)) error {
	for id := ebpf.MapID(0); ; {
		next, err := ebpf.MapGetNextID(id)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		id = next
		m, err := ebpf.NewMapFromID(id)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		info, err := m.Info()
		if err != nil {
			return errors.Join(err, m.Close())
		}
		bytes, ok := info.Memlock()
		if !ok {
			return errors.Join(fmt.Errorf("the kernel does not tell how much memory map %s takes", info.Name), m.Close())
		}
		each(info.Name, bytes)
		if err := m.Close(); err != nil {
			return err
		}
	}
}

// storage returns how much the kernel's slab, in which all local storage is, grows by a
// file that is opened for the first time.
func storage() float64 {
	workload{files: coldFiles}.makeCold()
	time.Sleep(2 * time.Second) // until the kernel has freed what was there before
	before := slab()
	must(exec.Command(workloadPath, "open_cold", strconv.Itoa(coldFiles), dir, dir).Run())
	return (slab() - before) / coldFiles
}

func slab() float64 { return 1024 * field("/proc/meminfo", "Slab") }

// field returns a number of a file of proc.
func field(file, name string) float64 {
	f, err := os.Open(file)
	must(err)
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), name+":"); ok {
			n, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			must(err)
			return n
		}
	}
	fatal(fmt.Errorf("%s has no %s", file, name))
	return 0
}
