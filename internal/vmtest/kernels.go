// Package vmtest runs programs, above all test binaries, on real kernels in virtual machines. The kernels come from
// Debian's archive; the guest has an initramfs and nothing else: no disk and no network beyond its loopback.
//
// Tests that need a guest carry the build tag vm and ask this package which kernel they run on. Start them with
//
//	go run ./internal/vmtest/suite -tags vm ./...
//
// or on one kernel with the command vmrun. KVM is used where a trial boot works, else emulation.
package vmtest

import (
	"cmp"
	"fmt"
	"slices"
)

// Kernel is one row of the table of kernels the tests run on.
type Kernel struct {
	// Name selects the row: vmrun -kernel NAME.
	Name string
	// Arch is the architecture as Debian and Go call it; amd64 if empty.
	Arch string
	// Series is the upstream version prefix, such as "6.12".
	Series string
	// Suites are the Debian suites that carry the series.
	Suites []string
	// Package is a regular expression for the image package. Its first group is the version that orders the candidates;
	// being anchored it excludes -unsigned and -dbg packages.
	Package string
	// CPU is QEMU's -cpu under software emulation. The comments in the table say why it differs.
	CPU string
	// CPUs is how many processors the kernel gets under software emulation unless a test asks for a number; 2 if zero.
	CPUs int
	// LSM is the kernel's lsm= argument.
	LSM string
	// Refuses is what NewManager must say where the kernel offers no operation.
	Refuses string
	// Operations are the ebpfguard operations this kernel must offer.
	Operations []string
	// Between says that the kernel lies between two of the table that are tested whole. The suite runs the packages that
	// its flag -ends names on the others only.
	Between bool
	// Usual marks the kernel on which the suite runs what its flag -once names: that of the current Debian.
	Usual bool
	// Features are what tests may Require and what must then be available.
	Features []string
}

const (
	withBPF    = "lockdown,capability,landlock,yama,bpf"
	withoutBPF = "lockdown,capability,landlock,yama"

	arm64CPU = "max,pauth-impdef=on"
)

// operations are those of every kernel that can enforce anything.
var operations = []string{
	"file_open", "bprm_check_security", "sb_mount", "sb_remount", "sb_umount", "task_fix_setuid", "socket_bind", "socket_connect",
}

// Kernels lists every kernel the tests run on: the oldest supported one, the long-term series of current distributions,
// the newest release, and one booted with an lsm= list that lacks bpf, where LSM programs load and have no effect.
//
// 7 gets one processor: with two, QEMU's emulation races with the kernel's patching of its own code (an int3 that nobody
// knows, in a trampoline or in sched_clock_cpu), which killed it at boot and when programs were detached.
//
// The CPU is QEMU's with everything it can emulate. Without cx16 where that is possible, since 6.12 was seen to
// double-fault at random with it; 7 needs it, because without it programs get no local storage (every
// bpf_inode_storage_get with the create flag returns NULL). The others work with either.
//
// The features follow the packages' own configuration: 5.10 has no MPTCP, 6.18 and later no SMC.
//
// The rows whose names end in -arm64 are the same kernels for that architecture. Before 6.4 there is nothing there that
// LSM programs could be attached with (DYNAMIC_FTRACE_WITH_DIRECT_CALLS): 6.1 has to be refused. Pointer authentication
// by QEMU's own algorithm instead of the architecture's, which takes half of the time.
var Kernels = []Kernel{
	{
		Name:       "5.10",
		Series:     "5.10",
		Suites:     []string{"bullseye", "bullseye-security"},
		Package:    `^linux-image-(5\.10\.0-\d+)-cloud-amd64$`,
		CPU:        "max,cx16=off",
		LSM:        withBPF,
		Operations: operations,
		Features:   []string{"bpf_lsm", "sctp", "smc", "udplite"},
	},
	{
		Name:       "6.1",
		Series:     "6.1",
		Suites:     []string{"bookworm", "bookworm-updates", "bookworm-security"},
		Package:    `^linux-image-(6\.1\.0-\d+)-cloud-amd64$`,
		CPU:        "max,cx16=off",
		LSM:        withBPF,
		Between:    true,
		Operations: operations,
		Features:   []string{"bpf_lsm", "task_storage", "exchanges", "tmpfs_uuid", "mptcp", "sctp", "smc", "udplite"},
	},
	{
		Name:       "6.12",
		Series:     "6.12",
		Suites:     []string{"trixie", "trixie-updates", "trixie-security"},
		Package:    `^linux-image-(6\.12\.\d+\+deb13(?:\.\d+)?)-cloud-amd64$`,
		CPU:        "max,cx16=off",
		LSM:        withBPF,
		Between:    true,
		Usual:      true,
		Operations: operations,
		Features:   []string{"bpf_lsm", "io_uring_bind", "task_storage", "exchanges", "tmpfs_uuid", "safe_task_storage", "mptcp", "sctp", "smc", "smc_protocol", "udplite"},
	},
	{
		Name:       "6.18",
		Series:     "6.18",
		Suites:     []string{"trixie-backports"},
		Package:    `^linux-image-(6\.18\.\d+\+deb13(?:\.\d+)?)-cloud-amd64$`,
		CPU:        "max,cx16=off",
		LSM:        withBPF,
		Between:    true,
		Operations: operations,
		Features:   []string{"bpf_lsm", "io_uring_bind", "task_storage", "exchanges", "tmpfs_uuid", "safe_task_storage", "mptcp", "sctp", "udplite"},
	},
	{
		Name:       "7",
		Series:     "7",
		Suites:     []string{"trixie-backports"},
		Package:    `^linux-image-(7\.\d+\.\d+\+deb13(?:\.\d+)?)-cloud-amd64$`,
		CPU:        "max",
		CPUs:       1,
		LSM:        withBPF,
		Operations: operations,
		Features:   []string{"bpf_lsm", "io_uring_bind", "task_storage", "exchanges", "tmpfs_uuid", "safe_task_storage", "mptcp", "sctp"},
	},
	{
		Name:     "6.12-nobpf",
		Series:   "6.12",
		Suites:   []string{"trixie", "trixie-updates", "trixie-security"},
		Package:  `^linux-image-(6\.12\.\d+\+deb13(?:\.\d+)?)-cloud-amd64$`,
		CPU:      "max,cx16=off",
		LSM:      withoutBPF,
		Refuses:  ",bpf to the kernel command line",
		Features: []string{"without_bpf_lsm", "io_uring_bind", "task_storage", "exchanges", "tmpfs_uuid", "safe_task_storage", "mptcp", "sctp", "smc", "smc_protocol", "udplite"},
	},
	{
		Name:    "6.1-arm64",
		Arch:    "arm64",
		Series:  "6.1",
		Suites:  []string{"bookworm", "bookworm-updates", "bookworm-security"},
		Package: `^linux-image-(6\.1\.0-\d+)-cloud-arm64$`,
		CPU:     arm64CPU,
		LSM:     withBPF,
		Refuses: "Linux 6.4 or later",
		// bpf_lsm is in its list of security modules all the same.
		Features: []string{"bpf_lsm", "task_storage", "exchanges", "tmpfs_uuid", "mptcp", "sctp", "smc", "udplite"},
	},
	{
		Name:       "6.12-arm64",
		Arch:       "arm64",
		Series:     "6.12",
		Suites:     []string{"trixie", "trixie-updates", "trixie-security"},
		Package:    `^linux-image-(6\.12\.\d+\+deb13(?:\.\d+)?)-cloud-arm64$`,
		CPU:        arm64CPU,
		LSM:        withBPF,
		Usual:      true,
		Operations: operations,
		Features:   []string{"bpf_lsm", "io_uring_bind", "task_storage", "exchanges", "tmpfs_uuid", "safe_task_storage", "mptcp", "sctp", "smc", "smc_protocol", "udplite"},
	},
	{
		Name:       "6.18-arm64",
		Arch:       "arm64",
		Series:     "6.18",
		Suites:     []string{"trixie-backports"},
		Package:    `^linux-image-(6\.18\.\d+\+deb13(?:\.\d+)?)-cloud-arm64$`,
		CPU:        arm64CPU,
		LSM:        withBPF,
		Operations: operations,
		Features:   []string{"bpf_lsm", "io_uring_bind", "task_storage", "exchanges", "tmpfs_uuid", "safe_task_storage", "mptcp", "sctp", "udplite"},
	},
	{
		Name:       "7-arm64",
		Arch:       "arm64",
		Series:     "7",
		Suites:     []string{"trixie-backports"},
		Package:    `^linux-image-(7\.\d+\.\d+\+deb13(?:\.\d+)?)-cloud-arm64$`,
		CPU:        arm64CPU,
		CPUs:       1,
		LSM:        withBPF,
		Operations: operations,
		Features:   []string{"bpf_lsm", "io_uring_bind", "task_storage", "exchanges", "tmpfs_uuid", "safe_task_storage", "mptcp", "sctp"},
	},
}

// ByName returns the table's row of that name.
func ByName(name string) (Kernel, error) {
	for _, k := range Kernels {
		if k.Name == name {
			return k, nil
		}
	}
	return Kernel{}, fmt.Errorf("find kernel %q: the table in internal/vmtest/kernels.go has %v; choose one of them", name, names(Kernels))
}

// Architecture is amd64 or arm64.
func (k Kernel) Architecture() string { return cmp.Or(k.Arch, "amd64") }

// Of returns the rows of an architecture in the table's order.
func Of(arch string) []Kernel {
	return slices.DeleteFunc(slices.Clone(Kernels), func(k Kernel) bool { return k.Architecture() != arch })
}

// Names returns the names of the rows in the table's order: those of amd64, whose results are written down.
func Names() []string { return names(Of("amd64")) }

func names(kernels []Kernel) []string {
	names := make([]string, 0, len(kernels))
	for _, k := range kernels {
		names = append(names, k.Name)
	}
	return names
}
