package main

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
)

// part is one thing of those that the guard's programs do, alone in a program on one hook: what it costs tells where
// the guard's instructions go.
type part struct {
	name, hook string
	// work begins the names of the workloads that go through the hook.
	work string
	// labelled says that each task that is made has task storage meanwhile.
	labelled bool
	does     func(m partMaps) asm.Instructions
}

// labelSize is about what the guard keeps with a task.
const labelSize = 600

// partTimes is how often a part is done that is too small to be measured once.
const partTimes = 10

type partMaps struct{ tasks, inodes, array *ebpf.Map }

// parts are measured when -setups asks for them.
var parts = []part{
	{name: "part: task storage made at fork", hook: "task_alloc", work: "fork+wait", does: makeLabel},
	{name: "part: task storage looked up 10 times", hook: "file_open", work: "open+close, depth 3", labelled: true, does: func(m partMaps) asm.Instructions {
		return repeat(func() asm.Instructions {
			return asm.Instructions{asm.FnGetCurrentTaskBtf.Call(), asm.Mov.Reg(asm.R2, asm.R0), asm.LoadMapPtr(asm.R1, m.tasks.FD()),
				asm.Mov.Imm(asm.R3, 0), asm.Mov.Imm(asm.R4, 0), asm.FnTaskStorageGet.Call()}
		})
	}},
	{name: "part: inode storage looked up 10 times", hook: "file_open", work: "open+close, depth 3", does: func(m partMaps) asm.Instructions {
		return repeat(func() asm.Instructions {
			return asm.Instructions{asm.LoadMem(asm.R2, asm.R6, 0, asm.DWord), asm.LoadMem(asm.R2, asm.R2, inodeOffset(), asm.DWord),
				asm.LoadMapPtr(asm.R1, m.inodes.FD()), asm.Mov.Imm(asm.R3, 0), asm.Mov.Imm(asm.R4, 1), asm.FnInodeStorageGet.Call()}
		})
	}},
	{name: "part: an array looked up 10 times", hook: "file_open", work: "open+close, depth 3", does: func(m partMaps) asm.Instructions {
		return repeat(func() asm.Instructions {
			return asm.Instructions{asm.StoreImm(asm.RFP, -8, 0, asm.Word), asm.LoadMapPtr(asm.R1, m.array.FD()), asm.Mov.Reg(asm.R2, asm.RFP),
				asm.Add.Imm(asm.R2, -8), asm.FnMapLookupElem.Call()}
		})
	}},
	{name: "part: memory of the kernel read 10 times", hook: "file_open", work: "open+close, depth 3", does: func(partMaps) asm.Instructions {
		return repeat(func() asm.Instructions {
			return asm.Instructions{asm.LoadMem(asm.R2, asm.R6, 0, asm.DWord), asm.LoadMem(asm.R2, asm.R2, inodeOffset(), asm.DWord),
				asm.LoadMem(asm.R2, asm.R2, 0, asm.Half)}
		})
	}},
}

func makeLabel(m partMaps) asm.Instructions {
	return asm.Instructions{asm.LoadMem(asm.R2, asm.R6, 0, asm.DWord), asm.LoadMapPtr(asm.R1, m.tasks.FD()),
		asm.Mov.Imm(asm.R3, 0), asm.Mov.Imm(asm.R4, 1), asm.FnTaskStorageGet.Call()}
}

func repeat(one func() asm.Instructions) (all asm.Instructions) {
	for range partTimes {
		all = append(all, one()...)
	}
	return all
}

// inodeOffset returns where a struct file has its inode.
func inodeOffset() int16 {
	spec, err := btf.LoadKernelSpec()
	must(err)
	var file *btf.Struct
	must(spec.TypeByName("file", &file))
	for _, m := range file.Members {
		if m.Name == "f_inode" {
			return int16(m.Offset.Bytes())
		}
	}
	panic("struct file has no f_inode")
}

func newPartMaps() (m partMaps) {
	number := &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	storage := func(t ebpf.MapType, size uint32) *ebpf.Map {
		made, err := ebpf.NewMap(&ebpf.MapSpec{
			Type: t, KeySize: 4, ValueSize: size, Flags: 1, Key: number, // BPF_F_NO_PREALLOC
			Value: &btf.Array{Index: number, Type: number, Nelems: size / 4},
		})
		must(err)
		return made
	}
	array, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	must(err)
	return partMaps{storage(ebpf.TaskStorage, labelSize), storage(ebpf.InodeStorage, 56), array}
}

// attachPart attaches a program that does a part, and what that needs.
func attachPart(p part) (detach func()) {
	m := newPartMaps()
	var links []link.Link
	attach := func(hook string, does asm.Instructions) {
		program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
			Type: ebpf.LSM, AttachType: ebpf.AttachLSMMac, AttachTo: hook, License: "Dual BSD/GPL",
			Instructions: append(append(asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1)}, does...), asm.Mov.Imm(asm.R0, 0), asm.Return()),
		})
		must(err)
		l, err := link.AttachLSM(link.LSMOptions{Program: program})
		must(err)
		must(program.Close())
		links = append(links, l)
	}
	if p.labelled {
		attach("task_alloc", makeLabel(m))
	}
	attach(p.hook, p.does(m))
	return func() {
		for _, l := range links {
			must(l.Close())
		}
		for _, each := range []*ebpf.Map{m.tasks, m.inodes, m.array} {
			must(each.Close())
		}
	}
}
