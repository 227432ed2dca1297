package vmtest

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/ebpfguard/ebpfguard/internal/vmtest/wire"
)

// Config says which machine a guest is, what it has besides the kernel, and what runs there. Kernel is required.
type Config struct {
	Kernel Kernel
	// Binary, Args and Dir are those of the program that Run runs, and Timeout and Stdout.
	Binary string
	Args   []string
	Dir    string
	Env    []string
	// Files maps paths in the guest to files or folders of the host.
	Files map[string]string
	// Packages are Debian packages to have in the guest, with their dependencies.
	Packages []string
	// Systemd boots Debian with systemd as its init from a disk, where Packages are installed as apt does it, instead
	// of the runner's own init. What the guest writes there is forgotten.
	Systemd bool
	// Archives are Debian packages whose files, and those of what they depend on, are in a folder of that disk,
	// [ArchiveFolder], to be installed there.
	Archives []string
	// Disk is the image of an ext4 file system that is the guest's root instead of an initramfs, below the runner's own
	// init. What the guest writes there stays. It has whatever programs need, so Packages and Files are none of it.
	Disk string
	// Network gives the guest a network in which it finds the host's loopback, and the host what Forward says.
	Network *Network
	// Modules are kernel modules to load before the command starts; "NAME?" where the kernel has one.
	Modules []string
	// Outputs maps files or folders of the guest to where they go on the host afterwards.
	Outputs map[string]string
	// Append holds further kernel arguments.
	Append string
	// ICount makes the guest's clock count instructions, on one CPU.
	ICount bool
	// WordCopies lets what ICount counts copy and clear memory by words, where else each byte counts as an instruction.
	WordCopies bool
	// CPUs defaults to the kernel's in the table, MemoryMiB to 2048, Timeout to 10 minutes.
	CPUs      int
	MemoryMiB int
	Timeout   time.Duration
	// Spare keeps all CPUs but one offline until the guest wants them, as Processors does: with several, emulation
	// costs a third more.
	Spare bool
	// Stdout receives the program's output, standard error included. Stderr receives the runner's own messages.
	Stdout, Stderr io.Writer
	// Verbose sends the whole kernel log to Stderr.
	Verbose bool
	// Meter, if set, tells what the guest takes of the host's processors.
	Meter *Meter
}

func (c Config) withDefaults() Config {
	if c.CPUs == 0 && c.Kernel.CPUs != 0 {
		c.CPUs = c.Kernel.CPUs
	} else if c.CPUs == 0 {
		c.CPUs = 2
	}
	if c.ICount {
		c.CPUs = 1
	}
	if c.MemoryMiB == 0 {
		c.MemoryMiB = 2048
	}
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Minute
	}
	if c.Dir == "" {
		c.Dir = "/"
	}
	if c.Stdout == nil {
		c.Stdout = io.Discard
	}
	if c.Stderr == nil {
		c.Stderr = io.Discard
	}
	return c
}

// ErrNoStatus says that the guest ended without reporting the program's exit status: it panicked, hung or was killed.
var ErrNoStatus = errors.New("the guest reported no exit status")

// Run boots the kernel, runs the binary as a child of init and returns its exit status. The error is about the machine;
// a command that fails has an exit status and no error.
func Run(ctx context.Context, c Config) (int, error) {
	c = c.withDefaults()
	results, err := RunEach(ctx, c, []Program{{Binary: c.Binary, Args: c.Args, Dir: c.Dir, Timeout: c.Timeout, Stdout: c.Stdout}})
	if err != nil {
		return 1, err
	}
	return results[0].Exit, results[0].Err
}

// fetched is what a guest is made of.
type fetched struct {
	image Image
	// segment is the part of the initramfs with the packages, root the image of a disk instead.
	segment, root string
}

func fetchAll(ctx context.Context, c Config, warn func(string)) (fetched, error) {
	if _, err := tool(qemuNames[c.Kernel.Architecture()]); err != nil {
		return fetched{}, err
	}
	image, err := Fetch(ctx, c.Kernel, warn)
	if err != nil {
		return fetched{}, err
	}
	segment, root, err := fetchSystem(ctx, c, warn)
	return fetched{image, segment, root}, err
}

func newMachine(ctx context.Context, c Config, f fetched, dir string) machine {
	m := machine{
		Kernel:     c.Kernel,
		Vmlinuz:    f.image.Vmlinuz(),
		Initramfs:  filepath.Join(dir, "initramfs"),
		Root:       f.root,
		Disk:       c.Disk,
		Network:    c.Network,
		Log:        filepath.Join(dir, "log"),
		Status:     filepath.Join(dir, "status"),
		KVM:        !c.ICount && c.Kernel.Architecture() == runtime.GOARCH && kvmWorks(ctx, f.image),
		ICount:     c.ICount,
		WordCopies: c.WordCopies,
		CPUs:       c.CPUs,
		MemoryMiB:  c.MemoryMiB,
		Append:     c.Append,
		Meter:      c.Meter,
	}
	if c.Spare && c.CPUs > 1 {
		m.Append = strings.TrimSpace("maxcpus=1 " + m.Append)
	}
	if c.Verbose {
		m.Append = strings.TrimSpace(m.Append + " loglevel=7")
	}
	return m
}

// fetchSystem returns what the guest finds besides the command: a part of the initramfs, or an image of a disk.
func fetchSystem(ctx context.Context, c Config, warn func(string)) (segment, root string, err error) {
	if c.Systemd {
		if c.Kernel.Architecture() != "amd64" {
			return "", "", fmt.Errorf("boot systemd on %s: there are no root file systems of %s; choose another kernel", c.Kernel.Name, c.Kernel.Arch)
		}
		root, err = fetchRoot(ctx, c.Packages, c.Archives, warn)
		return "", root, err
	}
	if c.Disk != "" && len(c.Packages)+len(c.Files) > 0 {
		return "", "", fmt.Errorf("boot with the root %s: the guest would not see the packages and files; put them into the image", c.Disk)
	}
	packages, err := fetchPackages(ctx, c.Kernel.Architecture(), c.Packages, warn)
	if err != nil {
		return "", "", err
	}
	segment, err = packages.path()
	return segment, "", err
}

// checkBinary finds out before the boot that a program would not start: the guest has no C library of its own.
func checkBinary(c Config, binary string) error {
	f, err := elf.Open(binary)
	if err != nil {
		return nil // a script, perhaps; the guest will tell
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP && len(c.Packages) == 0 {
			return fmt.Errorf("run %s: it is dynamically linked; build it with CGO_ENABLED=0, or give its libraries with -packages", filepath.Base(binary))
		}
	}
	return nil
}

func guestEnv(c Config) []string {
	env := []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/root", "USER=root", "TMPDIR=/tmp", "LC_ALL=C.UTF-8",
		wire.KernelEnv + "=" + c.Kernel.Name,
	}
	return append(env, c.Env...)
}

// boot runs QEMU until the guest powers off. QEMU dies with the runner: the kernel sends the signal when the thread
// that started it ends, so that thread is kept for as long as QEMU runs.
func (m machine) boot(ctx context.Context, stdout io.Writer) error {
	name := qemuNames[m.Kernel.Architecture()]
	path, err := tool(name)
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, path, m.args()...)
	cmd.Stdout = stdout
	cmd.Stderr = &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	m.Meter.start(cmd.Process.Pid)
	err = cmd.Wait()
	m.Meter.stop(cmd.ProcessState)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(stderr.String()))
	}
	return nil
}

// printLog shows the last lines of the kernel's log, or all of it.
func printLog(w io.Writer, path string, lines int) {
	text := lastLines(path, lines)
	if len(text) == 0 {
		fmt.Fprintln(w, "vmrun: the kernel logged nothing")
		return
	}
	fmt.Fprintln(w, "vmrun: kernel log:")
	for _, line := range text {
		fmt.Fprintln(w, "  "+line)
	}
}

// lastLines returns the last lines of a log, or all if lines is 0.
func lastLines(path string, lines int) []string {
	raw, err := os.ReadFile(path)
	if err != nil || len(raw) == 0 {
		return nil
	}
	text := strings.Split(strings.TrimRight(strings.ReplaceAll(string(raw), "\r", ""), "\n"), "\n")
	if lines > 0 && len(text) > lines {
		text = text[len(text)-lines:]
	}
	return text
}

// saveOutputs puts each file that came back where the caller wants it.
func saveOutputs(outputs map[string]string, files map[string][]byte) error {
	for guest, host := range outputs {
		for name, content := range files {
			rel, ok := strings.CutPrefix(name, guest)
			if !ok || rel != "" && rel[0] != '/' {
				continue
			}
			// Clean confines what the guest chose to the folder the host chose.
			path := filepath.Join(host, filepath.Clean("/"+rel))
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(path, content, 0o644); err != nil {
				return fmt.Errorf("save the guest's %s: %w", name, err)
			}
		}
	}
	return nil
}
