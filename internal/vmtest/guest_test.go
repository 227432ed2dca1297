//go:build vm

package vmtest

import (
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestGuestLSM holds the running kernel against the table.
func TestGuestLSM(t *testing.T) {
	k := mustGuest(t)
	raw, err := os.ReadFile("/sys/kernel/security/lsm")
	if err != nil {
		t.Fatal(err)
	}
	modules := strings.Split(string(raw), ",")
	if got := slices.Contains(modules, "bpf"); got != k.Offers("bpf_lsm") {
		t.Errorf("kernel %s runs with the security modules %s, which contradicts the table", k.Name, raw)
	}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	release := unix.ByteSliceToString(name.Release[:])
	if !strings.HasPrefix(release, k.Series+".") {
		t.Errorf("kernel %s is %s, not of series %s", k.Name, release, k.Series)
	}
}

func TestGuestMounts(t *testing.T) {
	for path, magic := range map[string]int64{
		"/proc": unix.PROC_SUPER_MAGIC, "/sys": unix.SYSFS_MAGIC, "/tmp": unix.TMPFS_MAGIC, "/run": unix.TMPFS_MAGIC,
		"/sys/fs/bpf": unix.BPF_FS_MAGIC, "/sys/fs/cgroup": unix.CGROUP2_SUPER_MAGIC, "/dev/pts": unix.DEVPTS_SUPER_MAGIC,
		"/sys/kernel/tracing": unix.TRACEFS_MAGIC, "/sys/kernel/security": unix.SECURITYFS_MAGIC,
	} {
		var fs unix.Statfs_t
		if err := unix.Statfs(path, &fs); err != nil || fs.Type != magic {
			t.Errorf("%s: type %#x, %v; want %#x", path, fs.Type, err, magic)
		}
	}
}

func TestGuestLoopback(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Error(err)
			continue
		}
		l.Close()
	}
}

func TestGuestTestdata(t *testing.T) {
	if got, err := os.ReadFile("testdata/present"); err != nil || string(got) != "yes\n" {
		t.Errorf("testdata/present: %q, %v", got, err)
	}
	if os.Getpid() == 1 {
		t.Error("the test runs as init")
	}
}

// TestGuestProtocols finds out whether the table's protocol features are true.
func TestGuestProtocols(t *testing.T) {
	for feature, socket := range map[string]struct{ domain, kind, protocol int }{
		"mptcp": {unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP},
		"sctp":  {unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP},
		"smc":   {unix.AF_SMC, unix.SOCK_STREAM, 0},
	} {
		t.Run(feature, func(t *testing.T) {
			fd, err := unix.Socket(socket.domain, socket.kind, socket.protocol)
			if err != nil {
				Unavailable(t, feature, err.Error())
			}
			unix.Close(fd)
			if !mustGuest(t).Offers(feature) {
				t.Errorf("kernel %s offers %s, and the table denies it: correct internal/vmtest/kernels.go", mustGuest(t).Name, feature)
			}
		})
	}
}
