package coverage

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// setups lay out each way's directory, before the way's own Setup.
var setups = map[Operation]func(*Env) error{
	FileOpen:      setupFiles,
	BprmCheck:     setupPrograms,
	SBMount:       setupMountPoints,
	SBRemount:     setupMounted,
	SBUmount:      setupMounted,
	TaskFixSetuid: nil,
	SocketBind:    nil,
	SocketConnect: nil,
}

// setupFiles makes protected and unprotected files. All are programs, and writable for everyone, so that nothing but the
// guard refuses what a way does.
func setupFiles(e *Env) error {
	for _, name := range []string{"secret", "public", "spare", "tree/sub/file", "open/sub/file", "glob/a.key", "glob/a.txt",
		"up/down/secret", "up/down/public", "up2/down/public"} {
		if err := writeProgram(e.Path(name)); err != nil {
			return err
		}
	}
	for _, name := range []string{"", "tree", "open", "tree/sub", "open/sub", "glob", "up", "up/down", "empty", "mnt"} {
		if err := os.MkdirAll(e.Path(name), 0o777); err != nil {
			return err
		}
		if err := os.Chmod(e.Path(name), 0o777); err != nil {
			return err
		}
	}
	return nil
}

func writeProgram(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	if err := install(path, exits()); err != nil {
		return err
	}
	return os.Chmod(path, 0o777)
}

// File is the file, or name, that a way of file_open is after.
func (e *Env) File() string {
	switch e.object {
	case "tree", "unread":
		return pick(e, e.Path("tree/sub/file"), e.Path("open/sub/file"))
	case "dir":
		return pick(e, e.Path("tree"), e.Path("open"))
	case "glob":
		return pick(e, e.Path("glob/a.key"), e.Path("glob/a.txt"))
	case "future":
		return pick(e, e.Path("future"), e.Path("later"))
	case "deep":
		return pick(e, e.Path("up/down/secret"), e.Path("up/down/public"))
	}
	return pick(e, e.Path("secret"), e.Path("public"))
}

// Name is the last component of File.
func (e *Env) Name() string { return filepath.Base(e.File()) }

// Other is an unprotected file beside it.
func (e *Env) Other() string { return e.Path("spare") }

// setupPrograms makes forbidden and permitted programs that exit with done.
func setupPrograms(e *Env) error {
	for _, name := range []string{"secret", "public", "tree/sub/prog", "open/sub/prog", "glob/a.bin", "glob/a.exe", "spare"} {
		if err := writeProgram(e.Path(name)); err != nil {
			return err
		}
	}
	return os.MkdirAll(e.Path("mnt"), 0o755)
}

// Program is the program that a way of bprm_check_security starts.
func (e *Env) Program() string {
	switch e.object {
	case "tree":
		return pick(e, e.Path("tree/sub/prog"), e.Path("open/sub/prog"))
	case "glob":
		return pick(e, e.Path("glob/a.bin"), e.Path("glob/a.exe"))
	case "unlisted":
		return pick(e, e.Path("secret"), e.Path("public"))
	}
	return pick(e, e.Path("secret"), e.Path("public"))
}

// setupMountPoints makes directories to mount at and from.
func setupMountPoints(e *Env) error {
	for _, name := range []string{"secret", "public", "tree/sub", "open/sub", "mnt", "mnt2", "from/sub", "work/a", "work/b"} {
		if err := os.MkdirAll(e.Path(name), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// Point is the mount point that a way of sb_* is after.
func (e *Env) Point() string {
	switch e.object {
	case "tree":
		return pick(e, e.Path("tree/sub"), e.Path("open/sub"))
	case "type", "flags":
		return e.Path("mnt")
	case "source":
		return e.Path("mnt")
	}
	return pick(e, e.Path("secret"), e.Path("public"))
}

// setupMounted mounts something at every mount point.
func setupMounted(e *Env) error {
	if err := setupMountPoints(e); err != nil {
		return err
	}
	for _, name := range []string{"secret", "public", "tree/sub", "open/sub", "mnt"} {
		if err := unix.Mount("coverage", e.Path(name), "tmpfs", 0, ""); err != nil {
			return err
		}
		if err := unix.Mount("", e.Path(name), "", unix.MS_PRIVATE, ""); err != nil {
			return err
		}
	}
	return nil
}

// UID and GID are ids that only the policy forbids to take.
func (e *Env) UID() int { return pick(e, 0, 4343) }

// OtherUID is a forbidden user that is not root.
func (e *Env) OtherUID() int { return pick(e, 4242, 4343) }

// GID is the forbidden group.
func (e *Env) GID() int { return pick(e, 4242, 4343) }

// Port is a port of the way's own.
func (e *Env) Port() int {
	switch e.object {
	case "protocol":
		return pick(e, 15000, 15500) + e.Index
	case "address":
		return pick(e, 14000, 14500) + e.Index
	}
	return pick(e, 20000, 10000) + e.Index
}

// Second is another port of the way's own, as much forbidden.
func (e *Env) Second() int { return e.Port() + 1000 }
