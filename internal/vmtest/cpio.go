package vmtest

import (
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// cpio writes the newc format of an initramfs: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.
// It makes missing parent folders, and it maps the folders that a merged-usr system links into /usr, because a folder
// written over such a link would replace it.
type cpio struct {
	w    io.Writer
	ino  int
	dirs map[string]bool
	err  error
}

const (
	modeDir     = 0o040000
	modeRegular = 0o100000
	modeSymlink = 0o120000
)

func newCpio(w io.Writer) *cpio {
	return &cpio{w: w, dirs: map[string]bool{".": true}}
}

// guestPath turns any path into the archive's form: relative, clean, and below usr where the guest has links.
func guestPath(name string) string {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	if name == "" {
		return "."
	}
	first, rest, nested := strings.Cut(name, "/")
	switch first {
	case "bin", "sbin", "lib", "lib32", "lib64", "libx32":
		if nested {
			return "usr/" + first + "/" + rest
		}
		return "usr/" + first
	}
	return name
}

func (c *cpio) dir(name string, perm os.FileMode) {
	name = guestPath(name)
	if c.dirs[name] {
		return
	}
	c.parents(name)
	c.dirs[name] = true
	c.entry(name, modeDir|uint32(perm.Perm())|sticky(perm), 0, 0, nil, 0)
}

func (c *cpio) file(name string, perm os.FileMode, uid, gid int, r io.Reader, size int64) {
	name = guestPath(name)
	c.parents(name)
	c.entry(name, modeRegular|uint32(perm.Perm())|sticky(perm), uid, gid, r, size)
}

func (c *cpio) bytes(name string, perm os.FileMode, content string) {
	c.file(name, perm, 0, 0, strings.NewReader(content), int64(len(content)))
}

func (c *cpio) symlink(name, target string) {
	name = guestPath(name)
	c.parents(name)
	c.entry(name, modeSymlink|0o777, 0, 0, strings.NewReader(target), int64(len(target)))
}

// rootLink makes a link whose own name is not mapped.
func (c *cpio) rootLink(name, target string) {
	c.entry(name, modeSymlink|0o777, 0, 0, strings.NewReader(target), int64(len(target)))
}

// hostTree adds a file or a folder of the host with all that is below it.
func (c *cpio) hostTree(guest, host string) error {
	host, err := filepath.EvalSymlinks(host)
	if err != nil {
		return err
	}
	return filepath.Walk(host, func(p string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(host, p)
		if err != nil {
			return err
		}
		name := path.Join(guest, filepath.ToSlash(rel))
		switch {
		case info.IsDir():
			c.dir(name, info.Mode())
		case info.Mode()&os.ModeSymlink != 0:
			target, err := os.Readlink(p)
			if err != nil {
				return err
			}
			c.symlink(name, target)
		case info.Mode().IsRegular():
			f, err := os.Open(p)
			if err != nil {
				return err
			}
			defer f.Close()
			// The file may have been replaced since the walk met it.
			if info, err = f.Stat(); err != nil {
				return err
			}
			c.file(name, info.Mode(), 0, 0, f, info.Size())
		}
		return c.err
	})
}

func (c *cpio) parents(name string) {
	if parent := path.Dir(name); !c.dirs[parent] {
		c.dir("/"+parent, 0o755)
	}
}

func sticky(mode os.FileMode) (bits uint32) {
	if mode&os.ModeSetuid != 0 {
		bits |= 0o4000
	}
	if mode&os.ModeSetgid != 0 {
		bits |= 0o2000
	}
	if mode&os.ModeSticky != 0 {
		bits |= 0o1000
	}
	return bits
}

func (c *cpio) entry(name string, mode uint32, uid, gid int, r io.Reader, size int64) {
	if c.err != nil {
		return
	}
	if size > 0xffffffff {
		c.err = fmt.Errorf("add %s to the initramfs: %d bytes exceed the format's 4 GiB; leave it out", name, size)
		return
	}
	c.ino++
	header := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		c.ino, mode, uid, gid, 1, 0, size, 0, 0, 0, 0, len(name)+1, 0, name)
	c.write(header + strings.Repeat("\x00", pad(int64(len(header)))))
	if c.err != nil || r == nil {
		return
	}
	if _, err := io.CopyN(c.w, r, size); err != nil {
		c.err = fmt.Errorf("add %s to the initramfs: %w", name, err)
		return
	}
	c.write(strings.Repeat("\x00", pad(size)))
}

func (c *cpio) write(s string) {
	if c.err == nil {
		_, c.err = io.WriteString(c.w, s)
	}
}

func pad(n int64) int { return int(-n & 3) }

// close ends the segment. Another one may follow it in the same initramfs.
func (c *cpio) close() error {
	c.entry("TRAILER!!!", 0, 0, 0, nil, 0)
	return c.err
}
