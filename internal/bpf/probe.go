package bpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/rlimit"
)

// ErrNoTrampoline says that the kernel has no way to call a program from a function: it was built without direct calls
// by ftrace. arm64 has had them since 6.4 (2aa6ac03516d).
var ErrNoTrampoline = errors.New("the kernel cannot call programs from its functions")

// ProbeLSM attaches a program to an LSM hook that does nothing but count, goes
// through the hook, and reports whether the program ran: without bpf among the
// active security modules programs attach but do not. The hook is task_getpgid;
// its verdict is left as it is.
func ProbeLSM() (ran bool, err error) {
	// Before 5.11 maps and programs count against this limit.
	if err := rlimit.RemoveMemlock(); err != nil {
		return false, fmt.Errorf("lifting RLIMIT_MEMLOCK: %w", err)
	}
	counter, err := ebpf.NewMap(&ebpf.MapSpec{Name: "probe", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		return false, fmt.Errorf("making a map: %w", err)
	}
	defer counter.Close()
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name:       "probe",
		Type:       ebpf.LSM,
		AttachType: ebpf.AttachLSMMac,
		AttachTo:   "task_getpgid",
		License:    "Dual BSD/GPL",
		Instructions: asm.Instructions{
			// if (ret) return ret
			asm.LoadMem(asm.R0, asm.R1, 8, asm.DWord),
			asm.JNE.Imm(asm.R0, 0, "exit"),
			// (*counter)++
			asm.LoadMapValue(asm.R1, counter.FD(), 0),
			asm.Mov.Imm(asm.R2, 1),
			asm.AddAtomic.Mem(asm.R1, asm.R2, asm.DWord, 0),
			asm.Mov.Imm(asm.R0, 0),
			asm.Return().WithSymbol("exit"),
		},
	})
	if err != nil {
		return false, fmt.Errorf("loading a program: %w", err)
	}
	defer program.Close()
	l, err := attachLSM(program)
	if lacksTrampoline(err) {
		return false, fmt.Errorf("attaching a program: %w (%w)", ErrNoTrampoline, err)
	}
	if err != nil {
		return false, fmt.Errorf("attaching a program: %w", err)
	}
	defer l.Close()
	if err := getpgid(); err != nil {
		return false, fmt.Errorf("going through the hook: %w", err)
	}
	var count uint64
	if err := counter.Lookup(uint32(0), &count); err != nil {
		return false, fmt.Errorf("reading the count: %w", err)
	}
	return count > 0, nil
}

// KeepsPaths reports whether the kernel's counts of renames and mounts can be
// found, without which nothing of a file's path is kept (bpf/cache/file.h).
func KeepsPaths() bool {
	renames, mounts := lockAddresses()
	return renames != 0 && mounts != 0
}
