package bpf

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
)

// canary is a program at an LSM hook that does nothing but count: while it runs, the others do. Without bpf among the
// active security modules programs attach and never run, and kernel.ftrace_enabled stops them all. The hook is
// task_getpgid; its verdict is left as it is.
type canary struct {
	counter *ebpf.Map
	link    link.Link
}

func newCanary() (_ *canary, err error) {
	counter, err := ebpf.NewMap(&ebpf.MapSpec{Name: "canary", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		return nil, fmt.Errorf("making a map: %w", err)
	}
	c := &canary{counter: counter}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name:       "canary",
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
		return nil, fmt.Errorf("loading a program: %w", err)
	}
	defer program.Close()
	l, err := attachLSM(program)
	if lacksTrampoline(err) {
		return nil, fmt.Errorf("attaching a program: %w (%w)", ErrNoTrampoline, err)
	}
	if err != nil {
		return nil, fmt.Errorf("attaching a program: %w", err)
	}
	c.link = l
	return c, nil
}

// runs goes through the hook, and reports whether the program ran.
func (c *canary) runs() (bool, error) {
	var before, after uint64
	if err := c.counter.Lookup(uint32(0), &before); err != nil {
		return false, fmt.Errorf("reading the count: %w", err)
	}
	if err := getpgid(); err != nil {
		return false, fmt.Errorf("going through the hook: %w", err)
	}
	if err := c.counter.Lookup(uint32(0), &after); err != nil {
		return false, fmt.Errorf("reading the count: %w", err)
	}
	return after != before, nil
}

func (c *canary) close() error {
	if c == nil {
		return nil
	}
	var err error
	if c.link != nil {
		err = c.link.Close()
	}
	return errors.Join(err, c.counter.Close())
}

// FtraceSwitch is the kernel's switch for what calls programs from its functions: 0 stops every one of them, on
// kernels between 5.11 and 6.18 at least (docs/kernels.md).
const FtraceSwitch = "/proc/sys/kernel/ftrace_enabled"

// verifyRuns looks whether programs run, and switches them on again. It returns what was wrong, empty for nothing.
func (o *Object) verifyRuns() (wrong string, err error) {
	if o.canary == nil {
		if o.canary, err = newCanary(); err != nil {
			return "", fmt.Errorf("looking whether programs run: %w", err)
		}
	}
	if runs, err := o.canary.runs(); err != nil || runs {
		return "", err
	}
	wrong = "no program ran at its hook, so nothing was refused"
	ftrace := o.options.HostRoot + FtraceSwitch // no link is on the way
	if state, err := os.ReadFile(ftrace); err == nil && strings.TrimSpace(string(state)) == "0" {
		wrong += "; " + FtraceSwitch + " was 0"
	}
	if err := os.WriteFile(ftrace, []byte("1\n"), 0); err != nil {
		return wrong, fmt.Errorf("switching programs on again: %w", err)
	}
	if runs, err := o.canary.runs(); err != nil || !runs {
		return wrong, errors.Join(err, fmt.Errorf("programs do not run, though %s is 1", FtraceSwitch))
	}
	return wrong, nil
}
