package vmtest

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/ebpfguard/ebpfguard/internal/vmtest/wire"
)

// Config says what runs in the guest and on which machine. Kernel and Binary are required.
type Config struct {
	Kernel Kernel
	// Binary is the host's path of a program: a static one, or one whose libraries are among Packages.
	Binary string
	Args   []string
	// Dir is the guest's working directory.
	Dir string
	Env []string
	// Files maps paths in the guest to files or folders of the host.
	Files map[string]string
	// Packages are Debian packages to have in the guest, with their dependencies.
	Packages []string
	// Systemd boots Debian with systemd as its init from a disk, where Packages are installed as apt does it, instead
	// of the runner's own init. What the guest writes there is forgotten.
	Systemd bool
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
	// Stdout receives the command's output, standard error included. Stderr receives the runner's own messages.
	Stdout, Stderr io.Writer
	// Verbose sends the whole kernel log to Stderr.
	Verbose bool
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

// ErrNoStatus says that the guest ended without reporting the command's exit status: it panicked, hung or was killed.
var ErrNoStatus = errors.New("the guest reported no exit status")

// Run boots the kernel, runs the binary as a child of init and returns its exit status. The error is about the machine;
// a command that fails has an exit status and no error.
func Run(ctx context.Context, c Config) (int, error) {
	c = c.withDefaults()
	warn := func(s string) { fmt.Fprintln(c.Stderr, "vmrun:", s) }
	if err := checkBinary(c); err != nil {
		return 1, err
	}
	if _, err := tool(qemuName); err != nil {
		return 1, err
	}
	image, err := Fetch(ctx, c.Kernel, warn)
	if err != nil {
		return 1, err
	}
	segment, root, err := fetchSystem(ctx, c, warn)
	if err != nil {
		return 1, err
	}
	dir, err := os.MkdirTemp("", "ebpfguard-vm-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	m := machine{
		Kernel:     c.Kernel,
		Vmlinuz:    image.Vmlinuz(),
		Initramfs:  filepath.Join(dir, "initramfs"),
		Root:       root,
		Log:        filepath.Join(dir, "log"),
		Status:     filepath.Join(dir, "status"),
		KVM:        !c.ICount && kvmWorks(ctx, image),
		ICount:     c.ICount,
		WordCopies: c.WordCopies,
		CPUs:       c.CPUs,
		MemoryMiB:  c.MemoryMiB,
		Append:     c.Append,
	}
	if c.Verbose {
		m.Append = strings.TrimSpace(m.Append + " loglevel=7")
	}
	job := wire.Job{
		Path:    "/.vmtest/" + filepath.Base(c.Binary),
		Args:    c.Args,
		Dir:     c.Dir,
		Env:     guestEnv(c),
		Outputs: slices.Sorted(maps.Keys(c.Outputs)),
	}
	if c.Systemd {
		job.Root, job.Files = wire.RootDevice, slices.Sorted(maps.Keys(c.Files))
		c.Modules = append(slices.Clone(rootModules), c.Modules...)
	}
	if err := writeInitramfs(ctx, m.Initramfs, c, image, segment, job); err != nil {
		return 1, fmt.Errorf("make the initramfs: %w", err)
	}
	warn(m.describe(image))
	start := time.Now()
	defer func() { warn(fmt.Sprintf("guest ran for %.1f s", time.Since(start).Seconds())) }()
	bounded, cancel := context.WithTimeoutCause(ctx, c.Timeout, fmt.Errorf("not finished within %v; raise -timeout or look for what hangs", c.Timeout))
	defer cancel()
	status, err := m.bootUntilStarted(bounded, c)
	if err != nil {
		return 1, fmt.Errorf("run the guest: %w", err)
	}
	if err := saveOutputs(c.Outputs, status.Files); err != nil {
		return status.Exit, err
	}
	if status.Error != "" {
		return max(status.Exit, 1), fmt.Errorf("run the guest: %s", status.Error)
	}
	return status.Exit, nil
}

// fetchSystem returns what the guest finds besides the command: a part of the initramfs, or an image of a disk.
func fetchSystem(ctx context.Context, c Config, warn func(string)) (segment, root string, err error) {
	if c.Systemd {
		root, err = fetchRoot(ctx, c.Packages, warn)
		return "", root, err
	}
	packages, err := fetchPackages(ctx, c.Packages, warn)
	if err != nil {
		return "", "", err
	}
	segment, err = packages.path()
	return segment, "", err
}

// checkBinary finds out before the boot that a program would not start: the guest has no C library of its own.
func checkBinary(c Config) error {
	f, err := elf.Open(c.Binary)
	if err != nil {
		return nil // a script, perhaps; the guest will tell
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP && len(c.Packages) == 0 {
			return fmt.Errorf("run %s: it is dynamically linked; build it with CGO_ENABLED=0, or give its libraries with -packages", filepath.Base(c.Binary))
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
	path, err := tool(qemuName)
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
	err = cmd.Run()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("%s: %w: %s", qemuName, err, strings.TrimSpace(stderr.String()))
	}
	return nil
}

// printLog shows the last lines of the kernel's log, or all of it.
func printLog(w io.Writer, path string, lines int) {
	raw, err := os.ReadFile(path)
	if err != nil || len(raw) == 0 {
		fmt.Fprintln(w, "vmrun: the kernel logged nothing")
		return
	}
	text := strings.Split(strings.TrimRight(strings.ReplaceAll(string(raw), "\r", ""), "\n"), "\n")
	if lines > 0 && len(text) > lines {
		text = text[len(text)-lines:]
	}
	fmt.Fprintln(w, "vmrun: kernel log:")
	for _, line := range text {
		fmt.Fprintln(w, "  "+line)
	}
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
