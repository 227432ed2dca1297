package ebpfguard

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/rlimit"

	"github.com/ebpfguard/ebpfguard/internal/bpf"
	"github.com/ebpfguard/ebpfguard/internal/hostroot"
	"github.com/ebpfguard/ebpfguard/policy"
)

// Report tells what this kernel can do.
type Report struct {
	// Kernel is its release, as uname -r prints it.
	Kernel string `json:"kernel"`
	// Enforcing says that an LSM program was loaded, attached and seen to
	// act, and that nothing else that is required is missing.
	Enforcing bool `json:"enforcing"`
	// LSMs are the active security modules in their order; nil when
	// securityfs cannot be read.
	LSMs []string `json:"lsms"`
	// Checks are what was looked at, in the order to read.
	Checks []Check `json:"checks"`
	// Operations are the operations of this version of ebpfguard.
	Operations []OperationSupport `json:"operations"`
}

// Check is one thing that was looked at.
type Check struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	// Required says that nothing can be enforced without it, Gap that policies or alerts are worth less
	// without it: [NewManager] fails then, unless [Options.AllowGaps] is set.
	Required bool   `json:"required"`
	Gap      bool   `json:"gap,omitempty"`
	Detail   string `json:"detail"`
	// Remedy says what to do when the check is not OK.
	Remedy string `json:"remedy,omitempty"`
}

// OperationSupport reports whether an operation can be enforced.
type OperationSupport struct {
	Operation policy.Operation `json:"operation"`
	Supported bool             `json:"supported"`
	Hooks     []HookSupport    `json:"hooks"`
	// NotCovered are the ways to the operation's effect that pass on this
	// kernel; docs/hooks.md has all of them.
	NotCovered []Uncovered `json:"not_covered,omitempty"`
	// Detail says why the operation is not supported.
	Detail string `json:"detail,omitempty"`
}

// HookSupport reports whether the kernel has an LSM hook, and what it covers.
type HookSupport struct {
	Name      string `json:"name"`
	Available bool   `json:"available"`
	Effect    string `json:"effect"`
	// Detail says of a hook that is not available why that is no gap; empty
	// when it is one.
	Detail string `json:"detail,omitempty"`
}

// Uncovered is an effect that no hook is asked about.
type Uncovered struct {
	Effect string `json:"effect"`
	// Reason says why, and what to do where something can be done.
	Reason string `json:"reason"`
}

// Err returns nil when the kernel can enforce policies, and else an error that
// wraps [ErrNotSupported], says what is missing and ends with what to do.
func (r Report) Err() error {
	if r.Enforcing {
		return nil
	}
	for _, c := range r.Checks {
		if c.Required && !c.OK {
			return fmt.Errorf("enforcement is %w: %s; %s", ErrNotSupported, c.Detail, c.Remedy)
		}
	}
	return fmt.Errorf("enforcement is %w", ErrNotSupported)
}

// CheckModule is the name of the check whether the bpf security module acts: without it programs load and
// attach, and have no effect.
const CheckModule = "the bpf security module"

// Probe finds out what this kernel can do, by doing it: a small LSM program is
// loaded and attached, made to run and removed again. It never answers yes
// without having seen that work.
func Probe() Report { return ProbeFor(Options{}) }

// ProbeFor is [Probe] for a manager with these options: it also tells what that would lack where this
// process runs ([ProbePlace]).
func ProbeFor(options Options) Report {
	root, err := hostroot.Open(options.HostRoot)
	if err != nil {
		root = nil // ProbePlace tells
	}
	defer root.Close()
	r := probeKernel(root)
	if r.Enforcing {
		r.add(ProbePlace(options)...)
	}
	return r
}

// probeKernel finds out what this kernel can do.
func probeKernel(root *hostroot.Root) Report {
	r := Report{Kernel: kernelRelease(), LSMs: activeLSMs(root)}
	if c := probeSystem(runtime.GOOS); c.OK {
		r.add(probeBTF(), probeLockdown(root), probeJIT())
	} else {
		r.add(c)
	}
	if r.complete() {
		r.add(probeLSM(r.LSMs)...)
	}
	if r.complete() {
		r.add(probeRingBuffer(), probeLabels(), probePaths())
	}
	r.Enforcing = r.complete()
	for _, op := range operations {
		r.Operations = append(r.Operations, op.support(r.Enforcing))
	}
	return r
}

func (r *Report) add(checks ...Check) { r.Checks = append(r.Checks, checks...) }

// complete reports whether nothing required was found missing.
func (r *Report) complete() bool {
	for _, c := range r.Checks {
		if c.Required && !c.OK {
			return false
		}
	}
	return true
}

func activeLSMs(root *hostroot.Root) []string {
	data, err := readSecurity(root, "lsm")
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSpace(string(data)), ",")
}

// readSecurity reads a file of securityfs, which containers do not have but their host.
func readSecurity(root *hostroot.Root, name string) ([]byte, error) {
	const dir = "/sys/kernel/security/"
	data, err := os.ReadFile(dir + name)
	if err != nil && root != nil {
		return root.ReadFile(dir + name)
	}
	return data, err
}

// probeSystem reports whether a system, by Go's name, is Linux.
func probeSystem(system string) Check {
	c := Check{Name: "operating system", Required: true, OK: true, Detail: "Linux"}
	if system != "linux" {
		c.OK = false
		c.Detail = fmt.Sprintf("BPF security modules are part of Linux, and this is %s", system)
		c.Remedy = "use Linux 5.10 or later, built with CONFIG_BPF_LSM and booted with bpf in lsm="
	}
	return c
}

func probeBTF() Check {
	c := Check{Name: "kernel type information (BTF)", Required: true}
	if _, err := btf.LoadKernelSpec(); err != nil {
		c.Detail = fmt.Sprintf("the kernel's type information cannot be read: %v", err)
		c.Remedy = "use a kernel built with CONFIG_DEBUG_INFO_BTF, as the distributions' kernels are, and mount sysfs at /sys"
		return c
	}
	c.OK, c.Detail = true, "/sys/kernel/btf/vmlinux"
	return c
}

func probeLockdown(root *hostroot.Root) Check {
	c := Check{Name: "kernel lockdown", Required: true, OK: true, Detail: "allows BPF programs to read kernel memory"}
	data, err := readSecurity(root, "lockdown")
	if err == nil && strings.Contains(string(data), "[confidentiality]") {
		c.OK = false
		c.Detail = "the kernel is locked down for confidentiality, so BPF programs cannot read what they need"
		c.Remedy = "boot with lockdown=integrity"
	}
	return c
}

// jitSwitch is sysctl net.core.bpf_jit_enable.
const jitSwitch = "/proc/sys/net/core/bpf_jit_enable"

// probeJIT reports whether BPF programs are compiled: only those can be attached to functions.
func probeJIT() Check { return jitCheck(os.ReadFile(jitSwitch)) }

func jitCheck(value []byte, err error) Check {
	c := Check{Name: "compiling of BPF programs (JIT)", Required: true, OK: true, Detail: "switched on"}
	switch {
	case err != nil: // in a network namespace of its own nobody can tell
		c.Detail = "not known: " + jitSwitch + " cannot be read here"
	case strings.TrimSpace(string(value)) == "0":
		c.OK = false
		c.Detail = "net.core.bpf_jit_enable is 0: programs that are not compiled cannot be attached"
		c.Remedy = "run sysctl -w net.core.bpf_jit_enable=1, and look in /etc/sysctl.conf and /etc/sysctl.d for what sets it to 0 at boot"
	}
	return c
}

// probeLSM loads a program, attaches it and looks whether it runs.
func probeLSM(lsms []string) []Check {
	loaded := Check{Name: "loading LSM programs", Required: true}
	acting := Check{Name: CheckModule, Required: true}
	ran, err := bpf.ProbeLSM()
	switch {
	case errors.Is(err, syscall.EPERM) && os.Geteuid() != 0:
		loaded.Detail = "loading LSM programs was refused (EPERM)"
		loaded.Remedy = "run as root"
		return []Check{loaded}
	case errors.Is(err, syscall.EPERM):
		loaded.Detail = "loading LSM programs was refused (EPERM) although this process is root"
		loaded.Remedy = "a container needs the capabilities CAP_BPF and CAP_PERFMON or CAP_SYS_ADMIN, in the host's user namespace (not rootless), and a seccomp profile that allows bpf(2); in a sandbox whose kernel forbids LSM programs use another machine"
		if missing := missingToLoad(); missing != nil {
			loaded.Detail += ": it lacks " + strings.Join(missing, " and ")
		} else if bpfFiltered() {
			loaded.Detail += " and has the capabilities: its seccomp profile forbids bpf(2)"
			loaded.Remedy = "use a seccomp profile that allows bpf and perf_event_open (--security-opt seccomp=unconfined); older ones of Docker and Podman want CAP_SYS_ADMIN for them"
		}
		return []Check{loaded}
	case errors.Is(err, bpf.ErrNoTrampoline):
		loaded.Detail = fmt.Sprintf("an LSM program was loaded but cannot be attached: %v", err)
		loaded.Remedy = "use a kernel built with CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS; on arm64 that takes Linux 6.4 or later"
		return []Check{loaded}
	case err != nil:
		loaded.Detail = fmt.Sprintf("an LSM program cannot be loaded: %v", err)
		loaded.Remedy = "use a kernel of version 5.10 or later built with CONFIG_BPF_LSM, CONFIG_BPF_SYSCALL and CONFIG_BPF_JIT"
		return []Check{loaded}
	}
	loaded.OK, loaded.Detail = true, "a program was loaded and attached"
	if ran {
		acting.OK, acting.Detail = true, "a program was seen to act"
		return []Check{loaded, acting}
	}
	if lsms != nil && !slices.Contains(lsms, "bpf") || lsms == nil {
		acting.Detail = "the bpf security module is not enabled: LSM programs load and attach but have no effect"
		acting.Remedy = bootRemedy(lsms)
		return []Check{loaded, acting}
	}
	acting.Detail = "the bpf security module is enabled, yet an LSM program that was attached did not run"
	acting.Remedy = "look whether /proc/sys/kernel/ftrace_enabled is 0, and write 1 to it"
	return []Check{loaded, acting}
}

// bootRemedy says how to enable the bpf security module.
func bootRemedy(lsms []string) string {
	const how = "to the kernel command line (on Debian and Ubuntu: to GRUB_CMDLINE_LINUX in /etc/default/grub, then run update-grub) and reboot"
	if lsms == nil {
		return "mount securityfs (mount -t securityfs securityfs /sys/kernel/security), then run sudo ebpfguard enable and reboot; or by hand, read the active modules from /sys/kernel/security/lsm, add lsm=<these>,bpf " + how
	}
	return "run sudo ebpfguard enable and reboot; or by hand, add lsm=" + strings.Join(append(lsms, "bpf"), ",") + " " + how
}

func probeRingBuffer() Check {
	c := Check{Name: "ring buffer for alerts", Required: true, OK: true, Detail: "available"}
	if err := features.HaveMapType(ebpf.RingBuf); err != nil {
		c.OK = false
		c.Detail = fmt.Sprintf("BPF ring buffers are not available: %v", err)
		c.Remedy = "use a kernel of version 5.10 or later"
	}
	return c
}

// probeLabels tells where the labels of processes are kept.
func probeLabels() Check {
	c := Check{Name: "labels of processes", OK: true, Detail: "in task storage"}
	if err := rlimit.RemoveMemlock(); err != nil {
		c.Detail = "RLIMIT_MEMLOCK cannot be lifted: maps may not fit on kernels before 5.11"
		c.OK = false
		c.Remedy = "run with CAP_SYS_RESOURCE"
		return c
	}
	if hash, err := bpf.UsesHash(); err == nil && hash {
		c.Detail = fmt.Sprintf("in a hash of at most %d tasks (this kernel's task storage is missing or not safe)", bpf.MaxHashTasks)
	}
	return c
}

// probePaths reports whether what is known of a file's path is kept.
func probePaths() Check {
	c := Check{Name: "paths of files", OK: true, Detail: "kept from one open to the next until something is renamed or mounted"}
	if bpf.CountsMoves() {
		c.Detail = "kept from one open to the next until a directory is renamed or something is mounted"
	}
	if !bpf.KeepsPaths() {
		c.OK = false
		c.Detail = "walked at each open: the addresses of rename_lock and mount_lock in /proc/kallsyms cannot be read"
		c.Remedy = "run with CAP_SYSLOG and with kernel.kptr_restrict below 2"
	}
	return c
}
