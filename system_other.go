//go:build !linux

package ebpfguard

import (
	"github.com/ebpfguard/ebpfguard/internal/compile"
	"github.com/ebpfguard/ebpfguard/internal/hostroot"
)

// Elsewhere than on Linux [NewManager] returns [ErrNotSupported], so none of these is
// asked. They let programs be built that use the package where it can enforce.

func kernelRelease() string                           { return "" }
func offersMountSetattr() bool                        { return false }
func offersTreeNamespaces() bool                      { return false }
func canonicalOf(*hostroot.Root, string) string       { return "" }
func mounts(*hostroot.Root) []compile.Mount           { return nil }
func devices(*hostroot.Root) []compile.Mount          { return nil }
func resolve(*hostroot.Root, string) compile.Resolved { return compile.Resolved{} }
func bpfFiltered() bool                               { return false }
func missingToLoad() []string                         { return nil }
func probePlace(Options, *hostroot.Root) []Check      { return nil }
