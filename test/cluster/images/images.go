// Package images makes the images that the pods of the tests have, as archives that containerd imports.
package images

import (
	"context"
	"debug/elf"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/test/containers/image"
)

// Names of images.
const (
	// Test has busybox, the program of test/containers/probe, /srv/secret and /srv/public.
	Test = "docker.io/library/test:1"
	// SSH has OpenSSH's server and busybox; it starts a shell.
	SSH = "docker.io/library/sshd:1"
)

// applets are busybox's commands in the images.
var applets = []string{"sh", "cat", "echo", "ls", "sleep", "true", "mkdir", "mount", "unshare", "nsenter", "wget", "httpd", "nc", "id", "cp", "rm", "mv", "chmod", "touch", "grep", "wc", "printf", "env", "kill", "ps", "timeout"}

// Agent builds ebpfguard's own image with a version, as make image does.
func Agent(ctx context.Context, dir, version string) (string, error) {
	root, err := checkout()
	if err != nil {
		return "", err
	}
	out := filepath.Join(dir, "agent-"+version)
	cmd := exec.CommandContext(ctx, "go", "run", "./internal/tools/image", "-arch", runtime.GOARCH, "-version", version, "-out", out)
	cmd.Dir = root
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build ebpfguard's image: %w: %s", err, text)
	}
	archives, err := filepath.Glob(out + "/*.tar")
	if err != nil || len(archives) != 1 {
		return "", fmt.Errorf("build ebpfguard's image: it gave the archives %q, want one; %w", archives, err)
	}
	return archives[0], nil
}

// WriteTest makes the image Test.
func WriteTest(ctx context.Context, dir string, warn func(string)) (string, error) {
	i, err := withBusybox(ctx, warn)
	if err != nil {
		return "", err
	}
	probe := filepath.Join(dir, "probe")
	root, err := checkout()
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", probe, "./test/containers/probe")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the probe: %w: %s", err, out)
	}
	i.Files["/bin/probe"] = probe
	i.Texts["/srv/secret"], i.Texts["/srv/public"] = "secret\n", "public\n"
	archive := filepath.Join(dir, "test.tar")
	_, err = i.Write(archive, Test)
	return archive, err
}

// sshPackages are OpenSSH's, with the libraries that its programs are linked with.
var sshPackages = []string{
	"openssh-server", "openssh-client", "libaudit1", "libbsd0", "libc6", "libcap-ng0", "libcom-err2", "libcrypt1", "libedit2", "libfido2-1",
	"libcbor0.10", "libgssapi-krb5-2", "libk5crypto3", "libkeyutils1", "libkrb5-3", "libkrb5support0", "libmd0", "libpam0g", "libpcre2-8-0",
	"libselinux1", "libsqlite3-0", "libssl3t64", "libtinfo6", "libudev1", "libwrap0", "libwtmpdb0", "libzstd1", "zlib1g",
}

// WriteSSH makes the image SSH.
func WriteSSH(ctx context.Context, dir string, warn func(string)) (string, error) {
	i, err := withBusybox(ctx, warn)
	if err != nil {
		return "", err
	}
	tree, err := vmtest.FetchPrograms(ctx, runtime.GOARCH, sshPackages, warn)
	if err != nil {
		return "", err
	}
	programs := []string{"usr/sbin/sshd", "usr/lib/openssh/sshd-session", "usr/lib/openssh/sshd-auth", "usr/bin/ssh-keygen"}
	for _, name := range []string{"/lib", "/lib64"} {
		i.Links[name] = "usr" + name
	}
	if err := addPrograms(i, tree, programs); err != nil {
		return "", err
	}
	i.Texts["/etc/passwd"] += "sshd:x:100:65534::/run/sshd:/usr/sbin/nologin\n"
	i.Texts["/etc/ssh/sshd_config"] = "UsePAM no\n"
	i.Texts["/run/sshd/.keep"] = ""
	archive := filepath.Join(dir, "ssh.tar")
	_, err = i.Write(archive, SSH)
	return archive, err
}

func withBusybox(ctx context.Context, warn func(string)) (image.Image, error) {
	debian, err := vmtest.FetchPrograms(ctx, runtime.GOARCH, []string{"busybox-static"}, warn)
	if err != nil {
		return image.Image{}, err
	}
	i := image.Image{
		Files: map[string]string{"/bin/busybox": filepath.Join(debian, "usr/bin/busybox")},
		Links: map[string]string{}, Entrypoint: []string{"/bin/sh"},
		Texts: map[string]string{"/etc/passwd": "root:x:0:0::/root:/bin/sh\n", "/etc/group": "root:x:0:\n", "/tmp/.keep": ""},
	}
	for _, name := range applets {
		i.Links["/bin/"+name] = "busybox"
	}
	return i, nil
}

// addPrograms adds programs of a tree of packages, with what they are linked with.
func addPrograms(i image.Image, tree string, programs []string) error {
	libraries := map[string]string{}
	err := filepath.WalkDir(filepath.Join(tree, "usr/lib"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			libraries[d.Name()] = path
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, name := range programs {
		if err := addLinked(i, tree, filepath.Join(tree, name), libraries); err != nil {
			return err
		}
	}
	return nil
}

func addLinked(i image.Image, tree, path string, libraries map[string]string) error {
	rel, err := filepath.Rel(tree, path)
	if err != nil || i.Files["/"+rel] != "" {
		return err
	}
	i.Files["/"+rel] = path
	f, err := elf.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	needed, err := f.ImportedLibraries()
	if err != nil {
		return err
	}
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		raw, err := io.ReadAll(p.Open())
		if err != nil {
			return err
		}
		// A link in Debian too.
		interpreter := strings.TrimRight(string(raw), "\x00")
		name := filepath.Base(interpreter)
		needed = append(needed, name)
		if at, err := filepath.Rel(tree, libraries[name]); err == nil {
			i.Links["/usr"+interpreter] = "/" + at
		}
	}
	for _, name := range needed {
		if libraries[name] == "" {
			return fmt.Errorf("%s needs %s, which no package has; add it to sshPackages", rel, name)
		}
		if err := addLinked(i, tree, libraries[name], libraries); err != nil {
			return err
		}
	}
	return nil
}

func checkout() (string, error) {
	working, err := os.Getwd()
	if err != nil {
		return "", err
	}
	if root := vmtest.Root(working); root != "" {
		return root, nil
	}
	return "", fmt.Errorf("find the checkout of ebpfguard above %s: there is none; run it inside one", working)
}
