// Package ebpfguard decides inside the Linux kernel what processes may do: open and
// change files, start programs, mount, change identity, bind and connect. eBPF programs
// on hooks of the Linux security modules (LSM) refuse what a policy forbids, before it
// happens. Policies are values; you need no knowledge of the kernel:
//
//	m, err := ebpfguard.NewManager(ebpfguard.Options{})
//	files, err := m.AttachFileOpen()
//	alerts := files.Alerts(ctx) // before the policy, so that no alert is missed
//	err = files.AddPolicy(ebpfguard.FileOpen{
//		Subject: ebpfguard.Everyone(),
//		Deny:    ebpfguard.Files("/etc/shadow"),
//	}) // in force when this returns
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
// To be short, this does not check the first errors; the package's example does.
//
// Each operation has a policy type, an alert type and a method that attaches it:
// [FileOpen], [BprmCheckSecurity], [SbMount], [SbRemount], [SbUmount],
// [TaskFixSetuid], [SocketBind] and [SocketConnect]. [Manager.Apply] replaces the
// policies of all operations in one step; it takes what package policy reads from
// YAML. An alert has the fields of [AlertContext] and those of its object, such as
// [FileObject].
//
// A refused operation fails with EPERM and raises an alert. docs/semantics.md says
// which rule decides; [policy.Decide] computes it without a kernel.
//
// The library needs root, and Linux 5.10 or later (6.4 on arm64) with bpf among the
// active security modules. [NewManager] says what is missing, [Probe] what the kernel
// covers, and [Gaps] which parts of a policy set it cannot enforce. The library never
// logs, exits or panics on input.
//
// The Go code is under Apache-2.0. The kernel programs, of which the package holds
// the compiled object, are under GPL-2.0-only or BSD-2-Clause, as you choose: a
// closed program may embed them.
package ebpfguard
