package machines

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// shell is what systemd-machined 252 wrote of a container.
const shell = `# This is private data. Do not parse.
NAME=shell
SCOPE=machine-shell.scope
SCOPE_JOB=/org/freedesktop/systemd1/job/331
SERVICE=systemd-nspawn
ROOT=/srv/shell
ID=5d0d7ac0ab4b4f1c9b5b2cf4d7be8b4a
LEADER=4711
CLASS=container
REALTIME=1796009732481119
MONOTONIC=61887312
`

func TestReadNspawn(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"shell":      shell,
		"vm":         strings.NewReplacer("CLASS=container", "CLASS=vm", "SERVICE=systemd-nspawn", "SERVICE=libvirt-qemu").Replace(shell),
		".shell.tmp": shell,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("shell", filepath.Join(dir, "unit:machine-shell.scope")); err != nil {
		t.Fatal(err)
	}
	group := "/machine.slice/machine-shell.scope/payload/init.scope"
	all, err := readNspawn(dir, func(pid uint32) string {
		if pid != 4711 {
			t.Errorf("asked about the process %d", pid)
		}
		return group
	})
	if err != nil || len(all) != 1 || all[0].ID != "systemd-nspawn:shell" || all[0].Name != "shell" || all[0].Cgroup != "/machine.slice/machine-shell.scope" ||
		all[0].instance != 4711 || !all[0].Running {
		t.Errorf("%v: %+v", err, all)
	}
	group = "/user.slice/session-1.scope"
	if all, err := readNspawn(dir, func(uint32) string { return group }); err == nil || len(all) != 0 {
		t.Errorf("one that has no group yet: %v, %+v", err, all)
	}
	if all, err := readNspawn(filepath.Join(dir, "none"), nil); err != nil || len(all) != 0 {
		t.Errorf("without systemd-machined: %v, %+v", err, all)
	}
}

func TestNspawnGroup(t *testing.T) {
	for _, test := range []struct{ path, unit, want string }{
		{"/machine.slice/machine-web.scope/payload/init.scope", "machine-web.scope", "/machine.slice/machine-web.scope"},
		{"/machine.slice/systemd-nspawn@web.service/payload", "systemd-nspawn@web.service", "/machine.slice/systemd-nspawn@web.service/payload"},
		{"/machine.slice/systemd-nspawn@web.service/payload/system.slice/cron.service", "systemd-nspawn@web.service", "/machine.slice/systemd-nspawn@web.service/payload"},
		// Its leader has not been moved yet.
		{"/machine.slice/systemd-nspawn@web.service", "systemd-nspawn@web.service", ""},
		{"/user.slice/session-1.scope", "session-1.scope", ""},
		{"", "machine-web.scope", ""},
	} {
		if got := nspawnGroup(test.path, test.unit, "web"); got != test.want {
			t.Errorf("%s in %s: %q, want %q", test.unit, test.path, got, test.want)
		}
	}
}

func TestReadLXC(t *testing.T) {
	root, dir := t.TempDir(), t.TempDir()
	for _, path := range []string{root + "/lxc.payload.web", root + "/lxc.payload.db-1", root + "/lxc.payload.web-2", root + "/lxc.payload.gone-3",
		root + "/lxc.monitor.web", root + "/system.slice", dir + "/web", dir + "/db-1"} {
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	all, err := readLXC(root, dir)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	for _, m := range all {
		names[m.Cgroup] = m.Name
		if m.instance == 0 || m.Runtime != "lxc" {
			t.Errorf("%+v", m)
		}
	}
	want := map[string]string{"/lxc.payload.web": "web", "/lxc.payload.db-1": "db-1", "/lxc.payload.web-2": "web", "/lxc.payload.gone-3": "gone-3"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
}
