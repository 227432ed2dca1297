package vmtest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/ebpfguard/ebpfguard/internal/vmtest/wire"
)

const guestPackage = "github.com/ebpfguard/ebpfguard/internal/vmtest/guest"

// etc is what a program expects to find of a system, whatever packages there are.
var etc = map[string]string{
	"/etc/passwd": `root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
bin:x:2:2:bin:/bin:/usr/sbin/nologin
www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin
sshd:x:100:65534::/run/sshd:/usr/sbin/nologin
tester:x:1000:1000:tester:/tmp:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
`,
	"/etc/group": `root:x:0:
daemon:x:1:
bin:x:2:
adm:x:4:
tty:x:5:
www-data:x:33:
shadow:x:42:
tester:x:1000:
nogroup:x:65534:
`,
	"/etc/hosts":         "127.0.0.1 localhost\n::1 localhost\n",
	"/etc/hostname":      "guest\n",
	"/etc/nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files\nservices: files\nprotocols: files\n",
}

// shadow leaves every account without a usable password.
const shadow = `root:*:19000:0:99999:7:::
sshd:!:19000::::::
tester:*:19000:0:99999:7:::
nobody:*:19000:0:99999:7:::
`

// writeInitramfs joins up to three archives into one, which the kernel unpacks one after the other: the merged-usr
// layout, the packages as the cache has them, and what is particular to this run.
func writeInitramfs(ctx context.Context, path string, c Config, from fetched, programs []Program, job wire.Job) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	if err := writeLayout(w); err != nil {
		return err
	}
	if from.segment != "" {
		segment, err := os.Open(from.segment)
		if err != nil {
			return err
		}
		defer segment.Close()
		if _, err := io.Copy(w, segment); err != nil {
			return err
		}
	}
	if err := writeRun(ctx, w, c, from.image, programs, job); err != nil {
		return err
	}
	return errors.Join(w.Flush(), f.Close())
}

func writeLayout(w io.Writer) error {
	a := newCpio(w)
	for _, dir := range []string{"bin", "sbin", "lib", "lib64"} {
		a.dir("/usr/"+dir, 0o755)
		a.rootLink(dir, "usr/"+dir)
	}
	for _, dir := range []string{"/dev", "/proc", "/sys", "/run", "/var/log", "/var/lib", "/var/www", "/etc"} {
		a.dir(dir, 0o755)
	}
	a.dir("/root", 0o700)
	a.dir("/tmp", 0o777|os.ModeSticky)
	a.dir("/var/tmp", 0o777|os.ModeSticky)
	a.rootLink("var/run", "/run")
	return a.close()
}

func writeRun(ctx context.Context, w io.Writer, c Config, image Image, programs []Program, job wire.Job) error {
	a := newCpio(w)
	for name, content := range etc {
		a.bytes(name, 0o644, content)
	}
	a.file("/etc/shadow", 0o640, 0, 42, strings.NewReader(shadow), int64(len(shadow)))
	initPath, err := buildGuest(ctx, c.Kernel.Architecture())
	if err != nil {
		return err
	}
	if err := a.hostTree("/init", initPath); err != nil {
		return err
	}
	for i, p := range job.Programs {
		if err := a.hostTree(p.Path, programs[i].Binary); err != nil {
			return fmt.Errorf("add the command: %w", err)
		}
		a.dir(p.Dir, 0o755)
	}
	for _, guest := range slices.Sorted(maps.Keys(c.Files)) {
		if err := a.hostTree(guest, c.Files[guest]); err != nil {
			return fmt.Errorf("add %s: %w", c.Files[guest], err)
		}
	}
	names := c.Modules
	if c.Systemd || c.Disk != "" {
		names = slices.Concat(rootModules, names)
	}
	if c.Network != nil {
		names = slices.Concat(networkModules, names)
	}
	if len(names) > 0 {
		set, err := openModules(ctx, image.modules())
		if err != nil {
			return err
		}
		modules, err := set.order(names)
		if err != nil {
			return err
		}
		for _, m := range modules {
			job.Modules = append(job.Modules, m.Name)
			a.bytes(filepath.Join(wire.ModuleDir, m.Name), 0o644, string(m.Image))
		}
	}
	raw, err := json.Marshal(job)
	if err != nil {
		return err
	}
	a.bytes(wire.JobPath, 0o644, string(raw))
	return a.close()
}

// buildGuest compiles the guest's init, statically, and keeps it in the cache. The go command's own cache makes this
// quick when nothing has changed, and a stale init impossible.
func buildGuest(ctx context.Context, arch string) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	unlock, err := lock(cache)
	if err != nil {
		return "", err
	}
	defer unlock()
	path := filepath.Join(cache, "guest-"+runtime.Version()+"-"+arch)
	return path, publish(path, func(tmp string) error {
		// What vmrun was built from is on this machine already; a look on the network could only find something else.
		env := []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + arch, "GOFLAGS=", "GOPROXY=off"}
		_, err := command(ctx, "", env, "go", "build", "-trimpath", "-ldflags=-s -w", "-buildvcs=false", "-o", tmp, guestPackage)
		if err != nil {
			return fmt.Errorf("build the guest's init: %w; run the command inside the checkout of ebpfguard", err)
		}
		return nil
	})
}
