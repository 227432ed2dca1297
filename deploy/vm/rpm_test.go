//go:build vm_deb

package vm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRPM installs the other package on the same system: rpm works on Debian too, knows nothing of Debian's packages
// and therefore asks for no dependencies.
func TestRPM(t *testing.T) {
	for _, path := range []string{forbidden, allowed} {
		if err := os.WriteFile(path, []byte("x\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	before := tree(t)
	part(t, "install", func(t *testing.T) {
		t.Log(run(t, "rpm", "--install", "--nodeps", "--force-debian", rpm(t, "0.0.1")))
		// Debian's presets enable everything; nobody starts it.
		if got := property(t, "UnitFileState"); got != "enabled" {
			t.Errorf("the unit is %s, want enabled", got)
		}
		if got := property(t, "ActiveState"); got != "inactive" {
			t.Errorf("the unit is %s, want inactive: the administrator starts it", got)
		}
		verify(t)
		for path := range strings.Lines(run(t, "rpm", "--query", "--list", "ebpfguard")) {
			if _, err := os.Stat(strings.TrimSpace(path)); err != nil {
				t.Error(err)
			}
		}
		manuals(t)
	})
	part(t, "enforce", func(t *testing.T) {
		putPolicy(t)
		run(t, "systemctl", "start", unit)
		waitActive(t, 0)
		modes(t)
		expect(t, act{"open", forbidden}, "EPERM")
		expect(t, act{"open", allowed}, "")
	})
	part(t, "upgrade", func(t *testing.T) {
		const config = "/etc/ebpfguard/config.yaml"
		file, err := os.OpenFile(config, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteString("# of the administrator\n"); err != nil {
			t.Fatal(err)
		}
		file.Close()
		pid := property(t, "MainPID")
		watch(t, func() {
			t.Log(run(t, "rpm", "--upgrade", "--nodeps", "--force-debian", rpm(t, "0.0.2")))
			waitRestart(t, pid)
		})
		if got := run(t, "rpm", "--query", "--queryformat", "%{VERSION}", "ebpfguard"); got != "0.0.2" {
			t.Errorf("after the upgrade rpm says %q", got)
		}
		if data, err := os.ReadFile(config); err != nil || !strings.HasSuffix(string(data), "# of the administrator\n") {
			t.Errorf("the upgrade lost the administrator's change of the configuration: %v", err)
		}
		verify(t, config)
	})
	part(t, "remove", func(t *testing.T) {
		t.Log(run(t, "rpm", "--erase", "ebpfguard"))
		expect(t, act{"open", forbidden}, "")
		expect(t, act{"bind", "4444"}, "")
		if got := property(t, "LoadState"); got != "not-found" {
			t.Errorf("the unit is %s after the removal", got)
		}
		if _, err := os.Lstat(pins); err == nil {
			t.Errorf("%s is still there", pins)
		}
		// What the administrator made or changed stays, as docs/packages.md says.
		noneLeft(t, before, "/etc/ebpfguard", "/var/lib/ebpfguard", "/var/log/ebpfguard", "/var/lib/rpm", "/root/.rpmdb",
			// Where RPM is at home these belong to other packages.
			"/usr/share/fish", "/usr/share/man/man1", "/usr/share/man/man5", "/usr/share/zsh/site-functions")
	})
}

func rpm(t *testing.T, version string) string {
	t.Helper()
	found, err := filepath.Glob(packages + "/" + version + "/*.x86_64.rpm")
	if err != nil || len(found) != 1 {
		t.Fatalf("find the package of version %s: %v, %v; `make test-deb` builds and adds it", version, found, err)
	}
	return found[0]
}

// verify lets rpm compare files, modes and owners with those of the package; only what is given may have changed.
func verify(t *testing.T, changed ...string) {
	t.Helper()
	out, _ := command("rpm", "--verify", "--nodeps", "ebpfguard")
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(changed) == 0 || fields[len(fields)-1] != changed[0] {
			t.Errorf("rpm finds: %s", line)
		}
	}
}
