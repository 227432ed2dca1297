package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/internal/vmtest/wire"
)

const (
	newRoot = "/newroot"
	// keeper is where this program lies in the new root, to be run there as a service.
	keeper = "/.vmtest/guest"
)

// service runs the job beside whatever else the system starts. Its processes are the test's own business, so that
// neither a limit nor the end of another one of them ends it.
const service = `[Unit]
Description=the job of the virtual machine

[Service]
Type=exec
ExecStart=` + keeper + ` ` + jobFlag + `
KillMode=process
TasksMax=infinity
`

// enterRoot gives the machine to the init of the root file system on the job's disk, which starts this program again
// as a service. It returns only if that fails, or if this program stays init.
func enterRoot(job wire.Job) error {
	if err := os.MkdirAll(newRoot, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(job.Root, newRoot, "ext4", 0, ""); err != nil {
		return fmt.Errorf("mount %s: %w", job.Root, err)
	}
	for _, path := range append([]string{filepath.Dir(wire.JobPath)}, job.Files...) {
		if err := copyTree(filepath.Join(newRoot, path), path); err != nil {
			return fmt.Errorf("copy %s to the disk: %w", path, err)
		}
	}
	if err := copyTree(newRoot+keeper, "/init"); err != nil {
		return err
	}
	for _, p := range job.Programs {
		if err := os.MkdirAll(newRoot+p.Dir, 0o755); err != nil {
			return err
		}
	}
	if job.OwnInit {
		if err := changeRoot(); err != nil {
			return err
		}
		job.Root = "" // there is nobody else to make the other mounts
		return mountAll(job)
	}
	const units = "/run/systemd/system"
	if err := os.MkdirAll(units, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(units+"/vmtest.service", []byte(service), 0o644); err != nil {
		return err
	}
	if err := changeRoot(); err != nil {
		return err
	}
	return unix.Exec("/sbin/init", []string{"/sbin/init"}, []string{"TERM=dumb"})
}

func changeRoot() error {
	for _, dir := range ownMounts {
		if err := unix.Mount(dir, newRoot+dir, "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("move %s: %w", dir, err)
		}
	}
	if err := errors.Join(os.Chdir(newRoot), unix.Mount(".", "/", "", unix.MS_MOVE, ""), unix.Chroot("."), os.Chdir("/")); err != nil {
		return fmt.Errorf("change the root: %w", err)
	}
	return nil
}

// copyTree copies files and folders; a link is copied as a link.
func copyTree(to, from string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			return os.MkdirAll(target, info.Mode().Perm())
		case d.Type()&os.ModeSymlink != 0:
			link, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(link, target)
		case !d.Type().IsRegular():
			return nil
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		return os.WriteFile(target, raw, info.Mode().Perm())
	})
}
