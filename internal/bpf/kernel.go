package bpf

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// locks are the addresses that lockAddresses found; they are the same until the next boot.
var locks struct {
	sync.Mutex
	renames, mounts uint64
}

// lockAddresses returns where the kernel counts renames and mounts
// (rename_lock, mount_lock), from /proc/kallsyms. 0 and 0 when they are hidden
// (CAP_SYSLOG, kernel.kptr_restrict) or not listed (CONFIG_KALLSYMS_ALL): then
// nothing about a file's path is kept from one open to the next.
func lockAddresses() (renames, mounts uint64) {
	locks.Lock()
	defer locks.Unlock()
	if locks.renames == 0 || locks.mounts == 0 {
		locks.renames, locks.mounts = readLockAddresses()
	}
	return locks.renames, locks.mounts
}

func readLockAddresses() (renames, mounts uint64) {
	file, err := os.Open("/proc/kallsyms")
	if err != nil {
		return 0, 0
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() && (renames == 0 || mounts == 0) {
		// A module's symbol has its name behind it. There are a hundred thousand lines.
		switch line := lines.Bytes(); {
		case bytes.HasSuffix(line, []byte(" rename_lock")):
			renames = symbolAddress(line)
		case bytes.HasSuffix(line, []byte(" mount_lock")):
			mounts = symbolAddress(line)
		}
	}
	if renames == 0 || mounts == 0 {
		return 0, 0
	}
	return renames, mounts
}

// symbolAddress returns the address of a line of /proc/kallsyms: address, type, name.
func symbolAddress(line []byte) uint64 {
	address, _, _ := strings.Cut(string(line), " ")
	n, _ := strconv.ParseUint(address, 16, 64)
	return n
}

// hookArguments finds out which arguments some hooks have on this kernel.
func hookArguments(variables map[string]any) error {
	for name, hook := range map[string]string{
		GuardVarSetattrDentry:     "inode_setattr",
		GuardVarSetxattrDentry:    "inode_setxattr",
		GuardVarRemovexattrDentry: "inode_removexattr",
	} {
		parameters, err := parametersOf(hook)
		if err != nil {
			return err
		}
		variables[name] = uint32(0)
		for i, p := range parameters {
			if p == "dentry" {
				variables[name] = uint32(i)
			}
		}
	}
	byPath, err := takesStructs()
	if err != nil {
		return err
	}
	variables[GuardVarChownByPath] = byPath
	parameters, err := parametersOf("path_rename")
	if err != nil {
		return err
	}
	variables[GuardVarRenameArguments] = uint32(len(parameters))
	variables[GuardVarMapsBackingFiles], err = HasHook("mmap_backing_file")
	return err
}

// types is the kernel's type information: megabytes that take a while to read,
// so it is kept for the next question, but not for ever.
var types struct {
	sync.Mutex
	cache   *btf.Cache
	users   int
	forgets *time.Timer
}

// keepTypes is for how long the kernel's type information is kept that nobody uses.
const keepTypes = time.Second

// takeTypes returns the kernel's type information, until [giveTypes]. Several may use it at the
// same time, but for the types of modules: they are decoded together with what they share with
// the kernel's, and not under its lock (cilium/ebpf 0.22).
func takeTypes() *btf.Cache {
	types.Lock()
	defer types.Unlock()
	if types.forgets != nil {
		types.forgets.Stop()
	}
	if types.cache == nil {
		types.cache = btf.NewCache()
	}
	types.users++
	return types.cache
}

// giveTypes tells that what [takeTypes] returned is used no more.
func giveTypes() {
	types.Lock()
	defer types.Unlock()
	types.users--
	if types.users > 0 {
		return
	}
	types.forgets = time.AfterFunc(keepTypes, func() {
		types.Lock()
		unused := types.users == 0
		if unused {
			types.cache = nil
		}
		types.Unlock()
		if unused { // to load programs takes several times the memory that is needed after
			debug.FreeOSMemory()
		}
	})
}

// hooks are what is known of the kernel's LSM hooks.
var hooks = struct {
	sync.Mutex
	// known has the names of a hook's parameters, not the types: those would keep all of
	// the kernel's types alive. It is nil for a hook that there is not.
	known map[string][]string
	told  map[string]bool
}{known: map[string][]string{}}

// KnownHooks returns which of the hooks that were asked for this kernel has.
func KnownHooks() map[string]bool {
	hooks.Lock()
	defer hooks.Unlock()
	known := maps.Clone(hooks.told)
	if known == nil {
		known = map[string]bool{}
	}
	for name, parameters := range hooks.known {
		known[name] = parameters != nil
	}
	return known
}

// TellHooks tells what [KnownHooks] found out in another process since this kernel was
// booted, so that its types need not be read for it again.
func TellHooks(known map[string]bool) {
	hooks.Lock()
	defer hooks.Unlock()
	hooks.told = maps.Clone(known)
}

// parametersOf returns the names of the parameters of the function that programs for a
// hook are attached to; nil if there is no such hook.
func parametersOf(hook string) ([]string, error) {
	hooks.Lock()
	defer hooks.Unlock()
	if parameters, ok := hooks.known[hook]; ok {
		return parameters, nil
	}
	cache := takeTypes()
	defer giveTypes()
	kernel, err := cache.Kernel()
	if err != nil {
		return nil, fmt.Errorf("reading the kernel's BTF: %w", err)
	}
	var function *btf.Func
	err = kernel.TypeByName("bpf_lsm_"+hook, &function)
	if err != nil && !errors.Is(err, btf.ErrNotFound) {
		return nil, fmt.Errorf("reading the kernel's BTF: %w", err)
	}
	var parameters []string
	if err == nil {
		prototype, ok := function.Type.(*btf.FuncProto)
		if !ok {
			return nil, fmt.Errorf("reading the kernel's BTF: %s is no function", hook)
		}
		parameters = make([]string, 0, len(prototype.Params))
		for _, p := range prototype.Params {
			parameters = append(parameters, strings.Clone(p.Name))
		}
	}
	hooks.known[hook] = parameters
	return parameters, nil
}

// takesStructs reports whether programs can be attached to functions that take
// structs by value, by attaching one to such a hook.
var takesStructs = sync.OnceValues(func() (bool, error) {
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "probe", Type: ebpf.LSM, AttachType: ebpf.AttachLSMMac, AttachTo: "path_chown", License: "Dual BSD/GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
	if errors.Is(err, syscall.EINVAL) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("loading a program for path_chown: %w", err)
	}
	return true, program.Close()
})

// HasHook reports whether this kernel has an LSM hook to which programs can be
// attached.
func HasHook(name string) (bool, error) {
	hooks.Lock()
	there, told := hooks.told[name]
	hooks.Unlock()
	if told && name != "path_chown" {
		return there, nil
	}
	parameters, err := parametersOf(name)
	if err != nil || parameters == nil {
		return false, err
	}
	if name == "path_chown" {
		return takesStructs()
	}
	return true, nil
}
