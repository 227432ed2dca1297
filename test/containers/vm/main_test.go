//go:build vm

package vm

import (
	"context"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/test/containers/image"
)

const (
	// The programs of the guest: see the Makefile.
	busybox = "/usr/bin/busybox"
	probe   = "/usr/local/libexec/probe"

	// testImage has busybox, probe and a secret.
	testImage = "docker.io/library/test:1"
	// sandboxImage is that of the pods' first process, which has but probe.
	sandboxImage = "docker.io/library/pause:1"
)

// roleEnv makes this program play another role than that of the tests.
const roleEnv = "EBPFGUARD_TEST_ROLE"

// digest is that of testImage.
var digest string

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		play(role)
		return
	}
	if err := prepare(); err != nil {
		fmt.Println("FAIL: prepare the guest:", err)
		os.Exit(1)
	}
	code := m.Run()
	if shared != nil {
		if err := shared.end(); err != nil {
			fmt.Println("FAIL: end the guard:", err)
			code = 1
		}
	}
	for _, c := range started {
		c.kill()
	}
	os.Exit(code)
}

// prepare makes the guest one where containers can run, and the images.
func prepare() error {
	if !systemd() { // there the root is a disk
		if err := bindRoot(); err != nil {
			return fmt.Errorf("change the root: %w", err)
		}
	}
	// Every pod gets copies.
	for _, name := range []string{"/etc/resolv.conf", "/etc/hosts"} {
		f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	applets := map[string]string{}
	for _, name := range []string{"sh", "cat", "echo", "ls", "sleep", "true", "mkdir", "mount", "unshare", "nsenter", "wget", "id"} {
		applets["/bin/"+name] = "busybox"
	}
	var err error
	digest, err = image.Image{
		Files: map[string]string{"/bin/busybox": busybox, "/bin/probe": probe}, Links: applets,
		Texts:      map[string]string{"/etc/passwd": "root:x:0:0::/root:/bin/sh\n", "/srv/secret": "secret\n", "/srv/public": "public\n"},
		Entrypoint: []string{"/bin/probe"},
		Labels:     map[string]string{"org.example.team": "shop"},
	}.Write("/tmp/test.tar", testImage)
	if err != nil {
		return err
	}
	_, err = image.Image{Files: map[string]string{"/bin/probe": probe}, Entrypoint: []string{"/bin/probe"}}.Write("/tmp/pause.tar", sandboxImage)
	return err
}

// bindRoot makes the root a mount that can be exchanged by pivot_root(2), as runc does: the initramfs itself cannot.
func bindRoot() error {
	const to = "/newroot"
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("/", to, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	if err := os.Chdir(to); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return err
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	return os.Chdir("/")
}

// play is what this program does in processes of its own.
func play(role string) {
	switch role {
	case "source":
		playSource(context.Background())
	default:
		fmt.Fprintf(os.Stderr, "there is no role %q\n", role)
		os.Exit(2)
	}
}

// times returns how often something is repeated: twenty times as often in a thorough run.
func times(n int) int {
	if os.Getenv(vmtest.FullEnv) == "1" {
		return 20 * n
	}
	return n
}
