package bpf

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// mmapable makes a map one that mmap takes.
const mmapable = unix.BPF_F_MMAPABLE

// mmap maps the first page of a map to this process.
func mmap(m *ebpf.Map) ([]byte, error) {
	return unix.Mmap(m.FD(), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}

func munmap(memory []byte) error { return unix.Munmap(memory) }

func attachLSM(program *ebpf.Program) (link.Link, error) {
	return link.AttachLSM(link.LSMOptions{Program: program})
}

// lacksTrampoline reports whether an attachment failed because the kernel cannot call programs from its functions. The
// kernel says ENODEV or an errno of its own, ENOTSUPP, which the library turns into its error.
func lacksTrampoline(err error) bool {
	return errors.Is(err, unix.ENODEV) || errors.Is(err, ebpf.ErrNotSupported)
}

func attachIterator(program *ebpf.Program) (iterator, error) {
	return link.AttachIter(link.IterOptions{Program: program})
}

func attachTracing(program *ebpf.Program) (link.Link, error) {
	return link.AttachTracing(link.TracingOptions{Program: program})
}

// getpgid goes through the hook task_getpgid.
func getpgid() error {
	_, err := unix.Getpgid(os.Getpid())
	return err
}

// openDirectory opens a directory, and nothing else.
func openDirectory(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
}

// check locks the directory and checks that nobody else can put anything into it.
func (p *Pins) check() error {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(p.lock.Fd()), &fs); err != nil {
		return fmt.Errorf("examining %s: %w", p.path, err)
	}
	if fs.Type != unix.BPF_FS_MAGIC {
		return fmt.Errorf("the pins' directory %s is not on a bpf filesystem; mount one (mount -t bpf bpf /sys/fs/bpf) or choose a directory below /sys/fs/bpf", p.path)
	}
	var stat unix.Stat_t
	if err := unix.Fstat(int(p.lock.Fd()), &stat); err != nil {
		return fmt.Errorf("examining %s: %w", p.path, err)
	}
	if stat.Uid != uint32(os.Geteuid()) || stat.Mode&0o077 != 0 {
		return fmt.Errorf("%w: %s belongs to user %d with mode %#o; only its owner may have access: chown and chmod 0700 it if you trust what is in it",
			ErrPinsForeign, p.path, stat.Uid, stat.Mode&0o7777)
	}
	if err := unix.Flock(int(p.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("%w: another process enforces by %s; stop it first, or use another directory", ErrPinsInUse, p.path)
	}
	return nil
}

// ShowsTmpfs reports whether statfs(2) tells one tmpfs from another, by its UUID (since 5.13): before, a tmpfs may have
// one all the same, which only the kernel sees.
var ShowsTmpfs = sync.OnceValue(func() bool {
	fd, err := unix.MemfdCreate("", unix.MFD_CLOEXEC) // a file of the kernel's own tmpfs
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var filesystem unix.Statfs_t
	return unix.Fstatfs(fd, &filesystem) == nil && filesystem.Type == unix.TMPFS_MAGIC && filesystem.Fsid.Val != [2]int32{}
})
