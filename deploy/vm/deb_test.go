//go:build vm_deb

package vm

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	// packages has the same package twice, with different versions.
	packages = "/src/debs"
	unit     = "ebpfguard.service"
	pins     = "/sys/fs/bpf/ebpfguard"
	policies = "/etc/ebpfguard/policies.d"

	forbidden = "/srv/forbidden"
	allowed   = "/srv/allowed"
	// exposure is ten times what `systemd-analyze security` may say; docs/packages.md tells why it is not less.
	exposure = "39"
)

// TestPackage goes through the life of the package on one system, so its parts build on each other.
func TestPackage(t *testing.T) {
	for _, path := range []string{forbidden, allowed} {
		if err := os.WriteFile(path, []byte("x\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	before := tree(t)
	first, second := deb(t, "0.0.1"), deb(t, "0.0.2")

	part(t, "install", func(t *testing.T) {
		t.Log(run(t, "dpkg", "-i", first))
		waitActive(t, 0)
		if got := property(t, "UnitFileState"); got != "enabled" {
			t.Errorf("the unit is %s, want enabled", got)
		}
		expect(t, act{"open", forbidden}, "")
		modes(t)
	})
	part(t, "files", func(t *testing.T) {
		if out := run(t, "dpkg", "--verify", "ebpfguard"); out != "" {
			t.Errorf("files differ from those of the package:\n%s", out)
		}
		for path := range strings.Lines(run(t, "dpkg", "--listfiles", "ebpfguard")) {
			if _, err := os.Stat(strings.TrimSpace(path)); err != nil {
				t.Error(err)
			}
		}
		manuals(t)
	})
	part(t, "unit", func(t *testing.T) {
		if out := run(t, "systemd-analyze", "verify", "--man=no", unit); strings.Contains(out, "ebpfguard") {
			t.Errorf("systemd finds fault with the unit:\n%s", out)
		}
		// The transaction of a boot, in which a cycle would cost some unit its start.
		if out, err := command("systemd-analyze", "verify", "--man=no", "default.target"); err != nil || strings.Contains(out, "cycle") {
			t.Errorf("systemd finds fault with the boot: %v\n%s", err, out)
		}
		out := run(t, "systemd-analyze", "security", "--no-pager", "--threshold="+exposure, unit)
		t.Log(lastLine(out))
	})
	part(t, "enforce", func(t *testing.T) {
		putPolicy(t)
		run(t, "systemctl", "reload", unit)
		eventually(t, "the policy is in force", func() bool { return perform(t, act{"open", forbidden}) == "EPERM" })
		expect(t, act{"bind", "4444"}, "EPERM")
		expect(t, act{"open", allowed}, "")
		expect(t, act{"bind", "4445"}, "")
	})
	part(t, "kill", func(t *testing.T) {
		pid := property(t, "MainPID")
		watch(t, func() {
			run(t, "systemctl", "kill", "-s", "KILL", unit)
			waitRestart(t, pid)
		})
		if got := property(t, "NRestarts"); got != "1" {
			t.Errorf("systemd restarted it %s times, want once", got)
		}
	})
	part(t, "upgrade", func(t *testing.T) {
		pid := property(t, "MainPID")
		watch(t, func() {
			t.Log(run(t, "dpkg", "-i", second))
			waitRestart(t, pid)
		})
		if got := run(t, "dpkg-query", "-W", "-f", "${Version} ${db:Status-Abbrev}", "ebpfguard"); got != "0.0.2 ii " {
			t.Errorf("after the upgrade dpkg says %q", got)
		}
		expect(t, act{"bind", "4444"}, "EPERM")
	})
	part(t, "stopped", func(t *testing.T) {
		watch(t, func() { run(t, "systemctl", "stop", unit) })
		run(t, "systemctl", "start", unit)
		waitActive(t, 0)
		expect(t, act{"open", forbidden}, "EPERM")
	})
	part(t, "purge", func(t *testing.T) {
		t.Log(run(t, "dpkg", "--purge", "ebpfguard"))
		expect(t, act{"open", forbidden}, "")
		expect(t, act{"bind", "4444"}, "")
		if got := property(t, "LoadState"); got != "not-found" {
			t.Errorf("the unit is %s after the purge", got)
		}
		if _, err := os.Lstat(pins); err == nil {
			t.Errorf("%s is still there", pins)
		}
		noneLeft(t, before)
	})
}

// TestBoot is for a system that booted with the package's files and a policy in place.
func TestBoot(t *testing.T) {
	if out, err := command("systemctl", "is-system-running", "--wait"); err != nil {
		failed, _ := command("systemctl", "--failed", "--no-pager")
		t.Errorf("the system is %s%s", out, failed)
	}
	ready := moment(t, unit)
	for _, later := range []string{"sysinit.target", "basic.target", "systemd-user-sessions.service"} {
		if at := moment(t, later); at < ready {
			t.Errorf("%s was reached at %d us, before the policies were in force at %d us", later, at, ready)
		}
	}
	expect(t, act{"open", forbidden}, "EPERM")
	expect(t, act{"bind", "4444"}, "EPERM")
	expect(t, act{"bind", "4445"}, "")
}

// moment is when a unit became active, in microseconds since the boot.
func moment(t *testing.T, name string) int {
	t.Helper()
	out := strings.TrimSpace(run(t, "systemctl", "show", "--value", "-p", "ActiveEnterTimestampMonotonic", name))
	at, err := strconv.Atoi(out)
	if err != nil || at == 0 {
		t.Fatalf("%s has not become active: %q", name, out)
	}
	return at
}

// part runs a step and ends the test when it fails: the next ones build on it.
func part(t *testing.T, name string, step func(*testing.T)) {
	t.Helper()
	start := time.Now()
	if !t.Run(name, step) {
		status, _ := command("systemctl", "status", "--no-pager", "--lines=0", unit)
		journal, _ := command("journalctl", "--no-pager", "-b", "-n", "60", "-u", unit)
		t.Fatalf("%s failed; the unit and its journal:\n%s\n%s", name, status, journal)
	}
	t.Logf("%s took %.1f s", name, time.Since(start).Seconds())
}

func deb(t *testing.T, version string) string {
	t.Helper()
	found, err := filepath.Glob(packages + "/" + version + "/*_amd64.deb")
	if err != nil || len(found) != 1 {
		t.Fatalf("find the package of version %s: %v, %v; `make test-deb` builds and adds it", version, found, err)
	}
	return found[0]
}

// elsewhere is what other programs write while the test runs, or is no file of a disk.
var elsewhere = []string{"/proc", "/sys", "/dev", "/run", "/tmp", "/src", "/.vmtest", "/var/lib/dpkg", "/var/log/journal", "/var/log/dpkg.log", "/var/cache", "/var/tmp"}

// tree lists all files and folders that could be left over, and pins.
func tree(t *testing.T) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir("/", func(path string, d fs.DirEntry, err error) error {
		switch {
		case slices.Contains(elsewhere, path):
			return fs.SkipDir
		case err != nil && !os.IsNotExist(err):
			return err
		}
		all = append(all, path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

// putPolicy puts the policy of the test where the daemon looks for it.
func putPolicy(t *testing.T) {
	t.Helper()
	policy, err := os.ReadFile("testdata/policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(policies+"/test.yaml", policy, 0o600); err != nil {
		t.Fatal(err)
	}
}

// noneLeft compares with an earlier tree, except what begins as one of the prefixes.
func noneLeft(t *testing.T, before []string, except ...string) {
	t.Helper()
	for _, path := range tree(t) {
		_, found := slices.BinarySearch(before, path)
		excepted := slices.ContainsFunc(except, func(prefix string) bool { return strings.HasPrefix(path, prefix) })
		if !found && !excepted {
			t.Errorf("the removal left %s", path)
		}
	}
}

// modes checks those that docs/packages.md tells.
func modes(t *testing.T) {
	t.Helper()
	mode(t, "/usr/bin/ebpfguard", 0o755)
	mode(t, "/usr/lib/systemd/system/ebpfguard.service", 0o644)
	mode(t, "/etc/ebpfguard", 0o750)
	mode(t, "/etc/ebpfguard/config.yaml", 0o640)
	mode(t, policies, 0o750)
	if property(t, "ActiveState") == "active" {
		mode(t, "/run/ebpfguard", 0o755)
		mode(t, "/var/lib/ebpfguard", 0o700)
		mode(t, "/var/log/ebpfguard", 0o750)
	}
}

// manuals checks that each command has a manual page with its name.
func manuals(t *testing.T) {
	t.Helper()
	names := []string{"ebpfguard"}
	commands, _, _ := strings.Cut(run(t, "ebpfguard", "--help"), "\nFlags:")
	for _, found := range regexp.MustCompile(`(?m)^  ([a-z]+)  +[A-Z]`).FindAllStringSubmatch(commands, -1) {
		if found[1] != "help" {
			names = append(names, "ebpfguard-"+found[1])
		}
	}
	if len(names) < 15 {
		t.Errorf("--help tells the commands %v only", names)
	}
	for _, name := range names {
		page := run(t, "gzip", "-dc", "/usr/share/man/man1/"+name+".1.gz")
		if !strings.Contains(page, ".TH") || !strings.Contains(page, strings.ReplaceAll(name, "-", `\-`)+` \-`) {
			t.Errorf("%s.1 is not the manual page of %s:\n%.300s", name, name, page)
		}
	}
	t.Logf("%d manual pages", len(names))
}

func mode(t *testing.T, path string, want fs.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Error(err)
		return
	}
	if got := info.Mode().Perm(); got != want {
		t.Errorf("%s has mode %o, want %o", path, got, want)
	}
}
