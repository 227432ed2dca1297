//go:build vm

package bpf

import (
	"errors"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/ebpfguard/ebpfguard/internal/procfs"
	"github.com/ebpfguard/ebpfguard/internal/verifier"
	"github.com/ebpfguard/ebpfguard/internal/vmtest"
)

// TestVerifier loads every program as the library does, prints what the verifier
// made of it, and compares with what is written down.
func TestVerifier(t *testing.T) {
	vmtest.Require(t, "socket_bind")
	o, err := Open(Options{HashKey: [2]uint64{1, 2}, AlertBytes: 1 << 16, Enrich: true})
	if err != nil {
		t.Fatal(err)
	}
	k, _ := vmtest.Guest()
	if o.hash == k.Offers("safe_task_storage") {
		t.Errorf("labels in a hash: %v, on kernel %s", o.hash, k.Name)
	}
	o.programs.LogLevel = ebpf.LogLevelStats
	now := map[string]verifier.Figures{}
	all, err := o.compiled().read(slices.Collect(maps.Keys(sections(t, o)))...)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.specify(); err != nil {
		t.Fatal(err)
	}
	programs := all.Programs
	for _, name := range programNames(t, o, programs) {
		start := time.Now()
		c, err := o.collect(map[string]*ebpf.ProgramSpec{name: programs[name]})
		took := time.Since(start)
		if err != nil {
			showRefusal(t, o, name, err)
			continue
		}
		f, err := figuresOf(c.Programs[name], programs[name])
		c.Close()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		f.LoadMS = int(took.Milliseconds())
		now[name] = f
		if err := (verifier.Result{Kernel: k.Name, Program: name, Figures: f}).Print(os.Stdout); err != nil {
			t.Error(err)
		}
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
	if t.Failed() {
		return
	}
	if err := (verifier.Result{Kernel: k.Name, Programs: len(now)}).Print(os.Stdout); err != nil {
		t.Error(err)
	}
	if os.Getenv(verifier.NewEnv) != "" {
		return
	}
	recorded, err := verifier.Read(verifier.File)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range verifier.Compare(k.Name, recorded[k.Series], now) {
		t.Error(line)
	}
}

// sections returns those of all programs.
func sections(t *testing.T, o *Object) map[string]int {
	all, err := o.compiled().sections()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// exchanging are the programs that 5.10 has no instructions for.
var exchanging = []string{GuardProgFileMoveBegins, GuardProgFileMoveEnds, GuardProgMountBegins, GuardProgMountEnds}

// programNames returns the programs that this kernel can have.
func programNames(t *testing.T, o *Object, programs map[string]*ebpf.ProgramSpec) []string {
	var names []string
	for name, program := range programs {
		if program.Type == ebpf.LSM {
			if ok, err := HasHook(program.AttachTo); err != nil {
				t.Fatal(err)
			} else if !ok {
				continue // the kernel table of the root package's tests says which
			}
		}
		if name == GuardProgTaskFree && !o.hash || slices.Contains(exchanging, name) && !isSince(exchanges) {
			continue
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// showRefusal loads once more, for the verifier's reasons.
func showRefusal(t *testing.T, o *Object, name string, first error) {
	o.programs.LogLevel = 0
	_, err := o.load(name)
	o.programs.LogLevel = ebpf.LogLevelStats
	if err == nil {
		t.Errorf("%s: %v, and then it was loaded", name, first)
		return
	}

	var refusal *ebpf.VerifierError
	if errors.As(err, &refusal) {
		for _, line := range refusal.Log[max(0, len(refusal.Log)-12):] {
			t.Log(line)
		}
	}
	t.Error(name, err)
}

// figuresOf asks the kernel about a program that it has loaded.
func figuresOf(program *ebpf.Program, spec *ebpf.ProgramSpec) (verifier.Figures, error) {
	f, stacks, err := verifier.Parse(program.VerifierLog)
	if err != nil {
		return f, err
	}
	info, err := program.Info()
	if err != nil {
		return f, err
	}
	size, err := info.TranslatedSize()
	if err != nil {
		return f, err
	}
	f.Instructions = size / 8
	code, err := info.JitedSize()
	if err != nil {
		return f, err
	}
	f.MachineCode = int(code)
	// The kernel has cut out what can never run, functions among it.
	offsets, err := info.FuncInfos()
	if err != nil {
		return f, err
	}
	var functions []string
	for _, function := range offsets {
		functions = append(functions, function.Func.Name)
	}
	f.Stack, err = verifier.Deepest(functions, stacks, callsOf(spec))
	return f, err
}

// callsOf returns which functions each function of a program calls.
func callsOf(spec *ebpf.ProgramSpec) map[string][]string {
	calls := map[string][]string{}
	var current string
	for _, instruction := range spec.Instructions {
		if f := btf.FuncMetadata(&instruction); f != nil {
			current = f.Name
		}
		if instruction.IsFunctionReference() {
			calls[current] = append(calls[current], instruction.Reference())
		}
	}
	return calls
}

// TestMarksGrow marks the tasks with room for one process: the room grows until it is enough, and not to what a
// machine can have at the most.
func TestMarksGrow(t *testing.T) {
	vmtest.Require(t, "socket_bind")
	o, err := Open(Options{HashKey: [2]uint64{1, 2}, AlertBytes: 1 << 16})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := o.TrackTasks(); err != nil {
		t.Fatal(err)
	}
	processes, err := procfs.Processes()
	if err != nil {
		t.Fatal(err)
	}
	if err := o.markTasksWith(1, nil); err != nil {
		t.Fatal(err)
	}
	if room := int(o.marker.room); room < len(processes)*9/10 || room > 8*len(processes) {
		t.Errorf("room for %d of %d processes", room, len(processes))
	}
	before := o.marker
	if err := o.markTasksWith(2, nil); err != nil || o.marker != before {
		t.Errorf("again: %v, another marker: %v", err, o.marker != before)
	}
	// Where the map cannot grow, that is an error.
	o.closeMarker()
	o.declared.Maps[GuardMapMarks].MaxEntries = 2
	if err := o.markTasksWith(1, nil); err == nil {
		t.Error("there is room for 2 processes, and that is no error")
	}
}
