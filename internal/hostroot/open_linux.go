package hostroot

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

var errTooManyLinks = unix.ELOOP

func openRoot(name string) (*os.File, error) {
	return os.OpenFile(name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

// maxTries is how often a path with .. is looked up while others rename: openat2(2) refuses where it cannot be sure.
const maxTries = 32

// open opens a path below the root (Linux 5.6). What /proc links to is not followed: it may be anywhere.
func (r *Root) open(name string, flags int) (*os.File, error) {
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	if name = strings.TrimLeft(name, "/"); name == "" {
		name = "."
	}
	for try := 0; ; try++ {
		fd, err := unix.Openat2(int(r.dir.Fd()), name, &how)
		if try < maxTries && (errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN)) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return os.NewFile(uintptr(fd), r.name+"/"+name), nil
	}
}

func (r *Root) stat(name string, follow bool) (fs.FileInfo, error) {
	flags := unix.O_PATH
	if !follow {
		flags |= unix.O_NOFOLLOW
	}
	file, err := r.OpenFile(name, flags)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return file.Stat()
}

func (r *Root) readlink(name string) (string, error) {
	file, err := r.OpenFile(name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return "", err
	}
	defer file.Close()
	target := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(file.Fd()), "", target)
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: r.name + name, Err: err}
	}
	return string(target[:n]), nil
}

// Writable reports whether this process may write a file that is there.
func (r *Root) Writable(name string) error {
	file, err := r.OpenFile(name, unix.O_PATH)
	if err != nil {
		return err
	}
	defer file.Close()
	err = unix.Faccessat2(int(file.Fd()), "", unix.W_OK, unix.AT_EMPTY_PATH|unix.AT_EACCESS)
	if err != nil {
		return &fs.PathError{Op: "write", Path: r.Name() + name, Err: err}
	}
	return nil
}
