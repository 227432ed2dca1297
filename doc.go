// Package ebpfguard blocks, in the kernel and before it happens, what a policy
// forbids: to open or change files, to start programs, to mount, to change
// identity, to bind and to connect. eBPF programs on hooks of the Linux security
// modules (LSM) decide; policies are values, and need no knowledge of the kernel:
//
//	m, err := ebpfguard.NewManager(ebpfguard.Options{})
//	files, err := m.AttachFileOpen()
//	alerts := files.Alerts(ctx) // before policies, so that none is missed
//	err = files.AddPolicy(ebpfguard.FileOpen{
//		Subject: ebpfguard.Everyone(),
//		Deny:    ebpfguard.Files("/etc/shadow"),
//	}) // enforced when this returns
//	if err != nil {
//		log.Fatal(err)
//	}
//	for alert, err := range alerts {
//		if err != nil {
//			log.Print(err) // some alerts were lost
//			continue
//		}
//		fmt.Println(alert.PID, alert.Binary, alert.Access, alert.Path)
//	}
//
// The first errors are not checked here, for shortness; the example of the package
// checks all.
//
// Each operation has a policy type, an alert type and a method to attach it:
// [FileOpen], [BprmCheckSecurity], [SbMount], [SbRemount], [SbUmount],
// [TaskFixSetuid], [SocketBind] and [SocketConnect]. [Manager.Apply] replaces the
// policies of all operations in one step, and takes what package policy reads from
// YAML. An alert has the fields of [AlertContext] and those of its object, such as
// [FileObject].
//
// A refused operation fails with EPERM and raises an alert. Which rule decides
// is described in docs/semantics.md and computed by [policy.Decide], without a
// kernel.
//
// The library needs Linux 5.10 or later with bpf among the active security
// modules, and root. [NewManager] says precisely what is missing, [Probe] what
// the kernel covers, [Gaps] what of a policy set it does not. The library never
// logs, exits or panics on input.
//
// The Go code is under Apache-2.0. The kernel programs, of which the package holds
// the compiled object, are under GPL-2.0-only or BSD-2-Clause, as you choose: a
// closed program may embed them.
package ebpfguard
