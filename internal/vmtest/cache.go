package vmtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// CacheEnv overrides the folder that keeps kernels, packages and the guest's init.
const CacheEnv = "EBPFGUARD_VM_CACHE"

const (
	// fresh is how long an answer of the archive is believed without asking again.
	fresh = 24 * time.Hour
	// backoff is how long the cache has to do after the archive was out of reach.
	backoff = time.Hour
)

func cacheDir() (string, error) {
	dir := os.Getenv(CacheEnv)
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("find the cache folder: %w; set %s", err, CacheEnv)
		}
		dir = filepath.Join(base, "ebpfguard", "vm")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make the cache folder: %w; set %s to one that is writable", err, CacheEnv)
	}
	return dir, nil
}

// lock keeps concurrent runs from filling the cache at the same time. The kernel drops the lock when the process dies.
func lock(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock the cache: %w", err)
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock the cache: %w", err)
	}
	return func() { f.Close() }, nil
}

// publish writes a file or folder under a temporary name and renames it, so that no reader ever sees half of it.
func publish(dst string, fill func(tmp string) error) error {
	if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
		return err
	}
	tmp := fmt.Sprintf("%s.tmp%d", dst, os.Getpid())
	defer os.RemoveAll(tmp)
	if err := fill(tmp); err != nil {
		return err
	}
	err := os.Rename(tmp, dst)
	if errors.Is(err, fs.ErrExist) || errors.Is(err, unix.ENOTEMPTY) {
		return nil // another run published the same version meanwhile
	}
	return err
}

func readJSON(path string, v any) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, v)
}

func writeJSON(path string, v any) error {
	raw, err := json.MarshalIndent(v, "", "\t")
	if err != nil {
		return err
	}
	return publish(path, func(tmp string) error { return os.WriteFile(tmp, append(raw, '\n'), 0o644) })
}

// hostTools maps what the runner executes to the Debian package that has it.
var hostTools = map[string]string{
	"apt-get":             "apt",
	"apt-cache":           "apt",
	"apt-config":          "apt",
	"dpkg-deb":            "dpkg",
	"xz":                  "xz-utils",
	"zstd":                "zstd",
	"gzip":                "gzip",
	"go":                  "golang-go",
	"mmdebstrap":          "mmdebstrap",
	"mke2fs":              "e2fsprogs",
	"resize2fs":           "e2fsprogs",
	"qemu-system-x86_64":  "qemu-system-x86",
	"qemu-system-aarch64": "qemu-system-arm",
}

func tool(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("find %s: %w; run `apt-get install %s`", name, err, hostTools[name])
	}
	return path, nil
}
