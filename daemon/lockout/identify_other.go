//go:build !linux

package lockout

import "github.com/ebpfguard/ebpfguard/internal/hostroot"

// identify knows no file: the daemon enforces on Linux only.
func identify(*hostroot.Root, string) (identity, bool) { return identity{}, false }
