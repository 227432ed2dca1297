//go:build !linux

package ebpfguard

func foreignPlace() string { return "" }
