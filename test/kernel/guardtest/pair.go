//go:build vm

package guardtest

import (
	"os"
	"slices"
	"testing"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
)

// Pair is a program that policies are about, and one that they are not.
type Pair struct {
	Dir, Program string
	Subject      ebpfguard.Subject
	Actor, Other *Doer
}

// NewPair starts both.
func NewPair(t *testing.T) *Pair {
	t.Helper()
	f := &Pair{Dir: t.TempDir()}
	Check(t, os.Chmod(f.Dir, 0o755))
	f.Program = CopyProgram(t, f.Dir+"/program")
	f.Subject = ebpfguard.Binaries(f.Program)
	f.Actor, f.Other = StartDoer(t, f.Program), StartDoer(t, "/proc/self/exe")
	return f
}

// Deny is a policy that denies the actor what lies below the test's directory.
func (f *Pair) Deny(paths ...string) policy.Policy {
	all := slices.Clone(paths)
	for i := range all {
		all[i] = f.Dir + "/" + all[i]
	}
	return DenyFiles("test", f.Subject, all...)
}
