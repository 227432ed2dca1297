package coverage

import "golang.org/x/sys/unix"

// The system calls that only older architectures have.

func probeLegacy() string { return "" }

func openLegacyWays() []Way {
	return []Way{
		{ID: "open", Description: "open(2)", Needs: []string{"legacy"}, Do: func(e *Env) error {
			return closed(call(unix.SYS_OPEN, str(e.File()), unix.O_RDONLY, 0))
		}},
		{ID: "creat", Description: "creat(2)", Needs: []string{"legacy"}, Do: func(e *Env) error {
			return closed(call(unix.SYS_CREAT, str(e.File()), 0o600))
		}},
		{ID: "open-ia32", Description: "open(2) through int 0x80, as a 32-bit program calls", Needs: []string{"ia32"}, Do: func(e *Env) error {
			const open32 = 5
			return int80(open32, lowString(e.File()), unix.O_RDONLY, 0)
		}},
	}
}

func nameLegacyWays() []Way {
	legacy := []string{"legacy"}
	return []Way{
		{ID: "unlink", Description: "unlink(2)", Needs: legacy, Do: func(e *Env) error { return fails(call(unix.SYS_UNLINK, str(e.File()))) }},
		{ID: "rename", Description: "rename(2) away", Needs: legacy, Do: func(e *Env) error {
			return fails(call(unix.SYS_RENAME, str(e.File()), str(e.Path("moved"))))
		}},
		{ID: "link", Description: "link(2) to a new name", Needs: legacy, Do: func(e *Env) error {
			return fails(call(unix.SYS_LINK, str(e.File()), str(e.Path("linked"))))
		}},
		{ID: "chmod", Description: "chmod(2)", Needs: legacy, Do: func(e *Env) error { return fails(call(unix.SYS_CHMOD, str(e.File()), 0o644)) }},
		{ID: "chown", Description: "chown(2)", Needs: legacy, Do: func(e *Env) error { return fails(call(unix.SYS_CHOWN, str(e.File()), 1000, 1000)) }},
		{ID: "lchown", Description: "lchown(2)", Needs: legacy, Do: func(e *Env) error { return fails(call(unix.SYS_LCHOWN, str(e.File()), 1000, 1000)) }},
		{ID: "utime", Description: "utime(2)", Needs: legacy, Do: func(e *Env) error { return fails(call(unix.SYS_UTIME, str(e.File()), 0)) }},
		{ID: "utimes", Description: "utimes(2)", Needs: legacy, Do: func(e *Env) error { return fails(call(unix.SYS_UTIMES, str(e.File()), 0)) }},
		{ID: "futimesat", Description: "futimesat(2)", Needs: legacy, Do: func(e *Env) error {
			return fails(call(unix.SYS_FUTIMESAT, atCWD, str(e.File()), 0))
		}},
		{ID: "rmdir", Object: "dir", Description: "rmdir(2)", Needs: legacy, Setup: emptyDir, Do: func(e *Env) error {
			return fails(call(unix.SYS_RMDIR, str(e.File())))
		}},
		{ID: "mkdir-legacy", Object: "future", Description: "mkdir(2) at a protected name", Needs: legacy, Do: func(e *Env) error {
			return fails(call(unix.SYS_MKDIR, str(e.File()), 0o755))
		}},
		{ID: "mknod-legacy", Object: "future", Description: "mknod(2) at a protected name", Needs: legacy, Do: func(e *Env) error {
			return fails(call(unix.SYS_MKNOD, str(e.File()), unix.S_IFREG|0o600, 0))
		}},
		{ID: "symlink-legacy", Object: "future", Description: "symlink(2) at a protected name", Needs: legacy, Do: func(e *Env) error {
			return fails(call(unix.SYS_SYMLINK, str("spare"), str(e.File())))
		}},
	}
}
