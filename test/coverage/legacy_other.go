//go:build !amd64

package coverage

import "runtime"

// Younger architectures have only the system calls that end in at.

func probeLegacy() string { return "not on " + runtime.GOARCH }

func probeIA32() string { return "not on " + runtime.GOARCH }

func int80(nr, a, b, c uint32) error { panic("not on " + runtime.GOARCH) }

func low([]byte) uint32 { panic("not on " + runtime.GOARCH) }

func openLegacyWays() []Way { return nil }

func nameLegacyWays() []Way { return nil }

func execve32(*Env) error { panic("not on " + runtime.GOARCH) }

func mount32(*Env) error { panic("not on " + runtime.GOARCH) }

func umount32(*Env) error { panic("not on " + runtime.GOARCH) }

func setflags32(int) error { panic("not on " + runtime.GOARCH) }

func setuid32(uint32) error { panic("not on " + runtime.GOARCH) }

func setuid16(uint32) error { panic("not on " + runtime.GOARCH) }

func setgid32(uint32) error { panic("not on " + runtime.GOARCH) }

func setgroups32(uint32) error { panic("not on " + runtime.GOARCH) }

func lowWords(...uint32) uint32 { panic("not on " + runtime.GOARCH) }
