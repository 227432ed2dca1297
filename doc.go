// Package ebpfguard blocks, in the kernel and before it happens, what a policy
// forbids. eBPF programs on hooks of the Linux security modules (LSM) decide;
// policies are values, and need no knowledge of the kernel:
//
//	m, err := ebpfguard.NewManager(ebpfguard.Options{})
//	bind, err := m.AttachSocketBind()
//	alerts := bind.Alerts(ctx) // before policies, so that none is missed
//	err = bind.AddPolicy(ebpfguard.SocketBind{
//		Subject: ebpfguard.Everyone(),
//		Deny:    ebpfguard.Ports(22),
//	}) // enforced when this returns
//
// A refused operation fails with EPERM and raises an alert. Which rule decides
// is described in docs/semantics.md and computed by [policy.Decide], without a
// kernel; package policy also reads policies from YAML, for [Manager.Apply].
//
// The library needs Linux 5.10 or later with bpf among the active security
// modules, and root. [NewManager] says precisely what is missing. The library
// never logs, exits or panics on input.
package ebpfguard
