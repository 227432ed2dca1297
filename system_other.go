//go:build !linux

package ebpfguard

import (
	"errors"

	"github.com/ebpfguard/ebpfguard/internal/compile"
)

// Elsewhere than on Linux [NewManager] returns [ErrNotSupported], so none of these is
// asked. They let programs be built that use the package where it can enforce.

func kernelRelease() string             { return "" }
func offersMountSetattr() bool          { return false }
func offersTreeNamespaces() bool        { return false }
func cgroupPath(uint64) (string, error) { return "", errors.ErrUnsupported }
func resolve(string) compile.Resolved   { return compile.Resolved{} }
func canonicalOf(string) string         { return "" }
func mounts() []compile.Mount           { return nil }
func devices() []compile.Mount          { return nil }
