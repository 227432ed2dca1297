// Package coverage holds the ways to reach each effect that ebpfguard forbids: every system call and every trick we know
// of, each as a small function that a child process, the actor, runs in a guest kernel.
//
// A way's control run, without a policy, has to succeed: only then does a refusal under a policy mean anything. The same
// function aimed at an object that no rule protects, the bystander, has to succeed under the policy as well.
//
// [Controls] runs the controls, [Run] runs everything under the policies of this package, with a guard that the caller brings,
// since this package knows nothing of the library. Both need root in a guest of internal/vmtest, and a test binary
// whose TestMain starts with
//
//	coverage.ActIfAsked()
//
// The command in the folder table turns the results of all kernels into docs/coverage.md.
package coverage

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// Operation is a policy's name of an effect.
type Operation string

// The operations, in the order of the table.
const (
	FileOpen      Operation = "file_open"
	BprmCheck     Operation = "bprm_check_security"
	SBMount       Operation = "sb_mount"
	SBRemount     Operation = "sb_remount"
	SBUmount      Operation = "sb_umount"
	TaskFixSetuid Operation = "task_fix_setuid"
	SocketBind    Operation = "socket_bind"
	SocketConnect Operation = "socket_connect"
)

// Way is one way to reach the effect of an operation.
type Way struct {
	Operation Operation
	// ID is stable, unique within the operation, and the key of a row.
	ID          string
	Description string
	// Object names the rule that protects the way's object; see Policies. Empty is the operation's first.
	Object string
	// Needs are features without which the kernel does not offer the way; see features.
	Needs []string
	// Disk puts the way's directory on ext4 on a loop device instead of tmpfs.
	Disk bool
	// Spoils is for a way that leaves its process unfit for another.
	Spoils bool
	// Setup runs in the unrestricted parent before the policies apply, after the operation's own setup.
	Setup func(*Env) error
	// Meanwhile runs in the unrestricted parent while the policies apply, right before Do.
	Meanwhile func(*Env) error
	// Do runs in the actor, on a thread of its own with its own working directory and root, and returns the error of
	// the step that matters. It ends an earlier step's failure with need or must. A way that ends in another program
	// returns nil by that program's exit status, done.
	Do func(*Env) error
	// Bystander replaces Do where aiming it at the unprotected object is not enough.
	Bystander func(*Env) error
	// Cleanup undoes in the parent what outlives the processes and mounts of the way.
	Cleanup func(*Env)
	// NotCovered gives the documented reason why the guard does not refuse the way, by kernel; "*" is every kernel.
	NotCovered map[string]string
}

// Row is the key of the way's row in the table.
func (w Way) Row() string { return string(w.Operation) + "/" + w.ID }

// Env is what a way acts in. The actor gets the exported fields.
type Env struct {
	Row string
	// Dir is the way's own directory.
	Dir string
	// Protected aims the way at the object that the policy protects, else at one that it does not.
	Protected bool
	// Index is the way's own number, for ports.
	Index int
	// Values go from Setup and Meanwhile to Do.
	Values map[string]string
	// Parent is the unrestricted process, which outlives the way.
	Parent int
	// First is the actor's descriptor of the first file that Pass handed over.
	First int

	object  string
	passed  []*os.File
	closers []func()
}

// Path returns a path below the way's directory.
func (e *Env) Path(elem ...string) string {
	return filepath.Join(append([]string{e.Dir}, elem...)...)
}

// Pass hands a file to the actor, which finds it with Passed.
func (e *Env) Pass(f *os.File) {
	e.passed = append(e.passed, f)
	e.Defer(func() { f.Close() })
}

// PassFD is Pass for a bare descriptor.
func (e *Env) PassFD(fd int) { e.Pass(os.NewFile(uintptr(fd), "passed")) }

// Passed returns the descriptor of the n-th file that Pass handed over.
func (e *Env) Passed(n int) int { return e.First + n }

// Defer runs f in the parent when the way is over.
func (e *Env) Defer(f func()) { e.closers = append(e.closers, f) }

func (e *Env) close() {
	for _, f := range slices.Backward(e.closers) {
		f()
	}
	e.closers, e.passed = nil, nil
}

// Set keeps a value for Do.
func (e *Env) Set(key string, value any) { e.Values[key] = fmt.Sprint(value) }

// Int returns a number that Set kept.
func (e *Env) Int(key string) int {
	n, err := strconv.Atoi(e.Values[key])
	must(err)
	return n
}

// pick returns the first value when the way aims at the protected object.
func pick[T any](e *Env, protected, free T) T {
	if e.Protected {
		return protected
	}
	return free
}

// stepError is a failure before the step that matters.
type stepError struct{ err error }

// must ends the way when a step fails that only leads to the one that matters.
func must(err error) {
	if err != nil {
		panic(stepError{err})
	}
}

// need is must for a step with a result.
func need[T any](v T, err error) T {
	must(err)
	return v
}

// fails is for system calls whose first result does not matter.
func fails[T any](_ T, err error) error { return err }

// closed closes what an open returned, and passes its error on.
func closed(fd int, err error) error {
	if err == nil {
		unix.Close(fd)
	}
	return err
}

// call makes a raw system call.
func call(nr uintptr, args ...uintptr) (int, error) {
	var a [6]uintptr
	copy(a[:], args)
	r, _, errno := unix.Syscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5])
	if errno != 0 {
		return -1, errno
	}
	return int(r), nil
}

// Ways returns every way there is, in the table's order.
func Ways() []Way {
	var all []Way
	for _, part := range []struct {
		operation Operation
		ways      [][]Way
	}{
		{FileOpen, [][]Way{openWays(), openLegacyWays(), openPathWays(), openMountWays(), openExecWays(), openByKernelWays(), openHandleWays(),
			nameWays(), nameLegacyWays(), moveWays(), loopWays(), deviceWays(), attributeWays(), contentWays(), createWays(), accessWays(), revokeWays(), uringFileWays()}},
		{BprmCheck, [][]Way{execWays(), execPathWays(), execInterpreterWays(), execTraitWays(), execMapWays()}},
		{SBMount, [][]Way{mountWays(), mountAPIWays(), mountPlaceWays(), mountOptionWays()}},
		{SBRemount, [][]Way{remountWays(), remountOptionWays()}},
		{SBUmount, [][]Way{umountWays(), detachWays()}},
		{TaskFixSetuid, [][]Way{setuidWays(), setgidWays(), privilegeWays()}},
		{SocketBind, [][]Way{bindWays(), bindOtherWays(), carriedBindWays(), openBindWays()}},
		{SocketConnect, [][]Way{connectWays(), sendWays(), connectOtherWays(), selfWays(), openConnectWays()}},
	} {
		for _, ways := range part.ways {
			for _, w := range ways {
				w.Operation = part.operation
				if w.Object == "" {
					w.Object = defaultObject[part.operation]
				}
				all = append(all, w)
			}
		}
	}
	return all
}
