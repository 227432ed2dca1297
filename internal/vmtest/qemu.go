package vmtest

import (
	"fmt"
	"strconv"
	"strings"
)

// qemuNames are QEMU's commands by architecture, and consoles the kernel's name for the first serial port there.
var (
	qemuNames = map[string]string{"amd64": "qemu-system-x86_64", "arm64": "qemu-system-aarch64"}
	consoles  = map[string]string{"amd64": "ttyS0,115200", "arm64": "ttyAMA0"}
)

// machine is everything the QEMU command line is made from.
type machine struct {
	Kernel    Kernel
	Vmlinuz   string
	Initramfs string
	// Root is the image of a disk; empty: there is none.
	Root string
	// Disk and Network are Config's.
	Disk    string
	Network *Network
	Log     string
	Status  string
	KVM     bool
	ICount  bool
	// WordCopies is Config's.
	WordCopies bool
	CPUs       int
	MemoryMiB  int
	Append     string
	Meter      *Meter
}

// acceleration names the mode for people.
func (m machine) acceleration() string {
	switch {
	case m.KVM:
		return "kvm"
	case m.ICount:
		return "tcg, icount"
	default:
		return "tcg"
	}
}

// args makes QEMU's arguments. The guest has a disk only if it has a root file system there. Its first serial port is the
// kernel's console, the second carries the command's output, the third the exit status.
func (m machine) args() []string {
	accel, cpu := "tcg,thread=multi", m.Kernel.CPU
	switch {
	case m.KVM:
		accel, cpu = "kvm", "host"
	case m.ICount:
		accel = "tcg,thread=single"
	}
	// The kernel then clears and copies memory eight bytes at a time instead of one: for QEMU each is an
	// instruction, and clearing pages took a sixth of the tests' time. What is counted keeps the processor
	// that earlier figures were counted with, unless it asks.
	if !m.KVM && (!m.ICount || m.WordCopies) && m.Kernel.Architecture() == "amd64" {
		cpu += ",erms=off,fsrm=off"
	}
	board, ports := "q35", []string{"-serial", "chardev:log", "-serial", "chardev:out", "-serial", "chardev:status"}
	if m.Kernel.Architecture() == "arm64" {
		// The board has one port of its own.
		board = "virt,gic-version=3"
		ports = []string{
			"-serial", "chardev:log", "-device", "pci-serial,chardev=out", "-device", "pci-serial,chardev=status",
		}
	}
	args := []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-machine", board, "-accel", accel, "-cpu", cpu,
		"-smp", strconv.Itoa(m.CPUs), "-m", strconv.Itoa(m.MemoryMiB) + "M",
		"-chardev", "file,id=log,path=" + escapeOption(m.Log),
		"-chardev", "stdio,id=out,signal=off",
		"-chardev", "file,id=status,path=" + escapeOption(m.Status),
	}
	args = append(args, ports...)
	args = append(args,
		"-kernel", m.Vmlinuz, "-initrd", m.Initramfs, "-append", m.append(),
	)
	if m.Root != "" {
		// What is written goes to a file that QEMU has removed already.
		args = append(args, "-drive", "if=virtio,format=raw,snapshot=on,cache=unsafe,file="+escapeOption(m.Root))
	}
	if m.Disk != "" {
		// What the guest has written survives QEMU's end; to flush it is for a machine that loses its power.
		args = append(args, "-drive", "if=virtio,format=raw,cache=unsafe,file="+escapeOption(m.Disk))
	}
	args = append(args, m.Network.args()...)
	if m.ICount {
		args = append(args, "-icount", "shift=0,sleep=off")
	}
	return args
}

// append makes the kernel's arguments. An oops ends the guest, since what runs after one proves nothing.
func (m machine) append() string {
	parts := []string{
		"console=" + consoles[m.Kernel.Architecture()], "loglevel=4", "panic=-1", "oops=panic", "random.trust_cpu=on", "lsm=" + m.Kernel.LSM,
	}
	if m.Kernel.Architecture() == "amd64" {
		// It counts ticks of a timer while the processor spins, and panics when a busy host has run neither.
		parts = append(parts, "no_timer_check")
	}
	if m.Root != "" {
		parts = append(parts, rootArguments)
	}
	if m.Append != "" {
		parts = append(parts, m.Append)
	}
	return strings.Join(parts, " ")
}

// escapeOption doubles commas, which separate QEMU's options.
func escapeOption(s string) string { return strings.ReplaceAll(s, ",", ",,") }

func (m machine) describe(i Image) string {
	return fmt.Sprintf("kernel %s (%s), %s, %d cpus", m.Kernel.Name, i.Release, m.acceleration(), m.CPUs)
}
