// Package storm tests in a real kernel that no answer is wrong while processes ask as fast as
// they can and what the answers are kept under changes without pause: files and directories
// are renamed, filesystems mounted and unmounted, processes made, policy sets exchanged.
//
// EBPFGUARD_STORM is how long, 15s without; make fuzz takes ten minutes. On a kernel with
// PREEMPT_DYNAMIC the argument preempt=full makes every program of the guard one that may be
// interrupted anywhere:
//
//	go run ./internal/vmtest/suite -kernels 6.12 -append preempt=full -env EBPFGUARD_STORM=1m ./test/kernel/storm
package storm
