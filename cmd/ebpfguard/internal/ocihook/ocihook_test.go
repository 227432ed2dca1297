package ocihook

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func machine(t *testing.T) Machine {
	t.Helper()
	return Machine{Root: t.TempDir(), Program: "/usr/bin/ebpfguard", Arguments: []string{"--fail=closed"}, Timeout: 5}
}

func put(t *testing.T, m Machine, name, text string) {
	t.Helper()
	path := m.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, m Machine, name string) string {
	t.Helper()
	data, err := os.ReadFile(m.path(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// carryOut applies a plan; the commands all succeed.
func carryOut(t *testing.T, m Machine, plan func() (*Plan, error)) *Plan {
	t.Helper()
	p, err := plan()
	if err == nil {
		err = m.Apply(p, func(Command) error { return nil })
	}
	if err != nil {
		t.Fatal(err)
	}
	if again, err := plan(); err != nil || !again.Empty() {
		t.Errorf("the same once more: %v:\n%v", err, again)
	}
	return p
}

func TestBundle(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"--root /run/r --log /l --log-format json --systemd-cgroup create --bundle /b --pid-file /p id", "/b"},
		{"create -b /b id", "/b"},
		{"run --bundle=/b id", "/b"},
		{"restore --image-path /i --bundle /b id", "/b"},
		{"run id", "."},
		{"create --bundle", "."},
		{"start create", ""},
		{"--root /r delete --force run", ""},
		{"--version", ""},
		{"exec id run --bundle /b", ""},
	} {
		if got := Bundle(strings.Fields(test.args)); got != test.want {
			t.Errorf("%s: %q, want %q", test.args, got, test.want)
		}
	}
}

// TestAddHook adds the hook to the bundle of a container that has hooks of its own and is started twice.
func TestAddHook(t *testing.T) {
	m := machine(t)
	put(t, m, "/b/config.json", `{"ociVersion":"1.0.2","linux":{"resources":{"memory":{"limit":9223372036854775807}}},
		"hooks":{"prestart":[{"path":"/p"}],"createRuntime":[{"path":"/c","args":["c"]}]}}`)
	if err := AddHook(m.path("/b"), m.Hook()); err != nil {
		t.Fatal(err)
	}
	m.Arguments = []string{"--fail=open"}
	if err := AddHook(m.path("/b"), m.Hook()); err != nil {
		t.Fatal(err)
	}
	ours := `{"path":"/usr/bin/ebpfguard","args":["ebpfguard","runtime","hook","--fail=open"],"timeout":5}`
	want := `{"hooks":{"createRuntime":[` + ours + `,{"path":"/c","args":["c"]}],"poststop":[` + ours + `],"prestart":[{"path":"/p"}]},` +
		`"linux":{"resources":{"memory":{"limit":9223372036854775807}}},"ociVersion":"1.0.2"}`
	if diff := cmp.Diff(want, get(t, m, "/b/config.json")); diff != "" {
		t.Error(diff)
	}
	if info, err := os.Stat(m.path("/b/config.json")); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("%v: %v", err, info.Mode())
	}
	for text, want := range map[string]string{"": "unexpected end", `{"hooks":[]}`: "cannot unmarshal", `{"hooks":{"poststop":1}}`: "cannot unmarshal"} {
		put(t, m, "/b/config.json", text)
		if err := AddHook(m.path("/b"), m.Hook()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
		if got := get(t, m, "/b/config.json"); got != text {
			t.Errorf("%q was changed to %q", text, got)
		}
	}
}

func TestPodman(t *testing.T) {
	m := machine(t)
	put(t, m, "/etc/containers/containers.conf", "[engine]\n# hooks_dir = [\"/x\"]\n")
	p := carryOut(t, m, m.InstallPodman)
	if len(p.Notes) > 0 {
		t.Errorf("notes %v", p.Notes)
	}
	var file hookFile
	const name = "/usr/share/containers/oci/hooks.d/ebpfguard.json"
	if err := json.Unmarshal([]byte(get(t, m, name)), &file); err != nil || !slices.Equal(file.Hook.Args, []string{"ebpfguard", "runtime", "hook", "--fail=closed"}) {
		t.Errorf("%v: %+v", err, file)
	}
	put(t, m, "/etc/containers/containers.conf", "[engine]\nhooks_dir = [\"/x\"]\n")
	m.Arguments = []string{"--fail=open"}
	if p := carryOut(t, m, m.InstallPodman); len(p.Notes) != 1 {
		t.Errorf("where hooks_dir is set: %v", p.Notes)
	}
	carryOut(t, m, m.UninstallPodman)
	if m.exists(name) {
		t.Error("the file is still there")
	}
}

// TestDocker installs and uninstalls over several daemon.json, which are the same at the end.
func TestDocker(t *testing.T) {
	ours := func(more ...string) string {
		args, _ := json.Marshal(append([]string{"runtime", "wrap", "--fail=closed"}, more...))
		return `"ebpfguard":{"path":"/usr/bin/ebpfguard","runtimeArgs":` + string(args) + `}`
	}
	for _, test := range []struct{ before, after string }{
		{"", `{"runtimes":{` + ours("--", "runc") + `},"default-runtime":"ebpfguard"}`},
		{`{}`, `{"runtimes":{` + ours("--", "runc") + `},"default-runtime":"ebpfguard"}`},
		{`{"z":1,"bridge":"none","n":1e400}`, `{"z":1,"bridge":"none","n":1e400,"runtimes":{` + ours("--", "runc") + `},"default-runtime":"ebpfguard"}`},
		{`{"default-runtime":"runc","debug":true}`, `{"default-runtime":"ebpfguard","debug":true,"runtimes":{` + ours("--instead-of=runc", "--", "runc") + `}}`},
		{
			`{"default-runtime":"nvidia","runtimes":{"nvidia":{"path":"/n","runtimeArgs":["-a"]},"crun":{"path":"crun"}}}`,
			`{"default-runtime":"ebpfguard","runtimes":{"nvidia":{"path":"/n","runtimeArgs":["-a"]},"crun":{"path":"crun"},` + ours("--instead-of=nvidia", "--", "/n", "-a") + `}}`,
		},
	} {
		m := machine(t)
		if test.before != "" {
			put(t, m, "/etc/docker/daemon.json", test.before)
		}
		carryOut(t, m, m.InstallDocker)
		if got := compact(t, get(t, m, "/etc/docker/daemon.json")); got != test.after {
			t.Errorf("%s:\n%s, want\n%s", test.before, got, test.after)
		}
		// Another mode replaces the entry alone.
		m.Arguments = []string{"--fail=open"}
		carryOut(t, m, m.InstallDocker)
		if got, want := compact(t, get(t, m, "/etc/docker/daemon.json")), strings.ReplaceAll(test.after, "closed", "open"); got != want {
			t.Errorf("%s, another mode:\n%s, want\n%s", test.before, got, want)
		}
		// As long as a container asks for the runtime, it is there.
		put(t, m, "/var/lib/docker/containers/1/hostconfig.json", `{"Runtime":"ebpfguard"}`)
		put(t, m, "/var/lib/docker/containers/2/hostconfig.json", `{"Runtime":"runc"}`)
		p := carryOut(t, m, m.UninstallDocker)
		if got := get(t, m, "/etc/docker/daemon.json"); len(p.Notes) != 1 || !strings.Contains(got, `"ebpfguard": {`) || strings.Contains(got, "wrap") || strings.Contains(got, `"default-runtime": "ebpfguard"`) {
			t.Errorf("%s, with a container: %v\n%s", test.before, p.Notes, got)
		}
		// Docker keeps the script, by which it stops what runs, of a runtime with arguments only.
		if got := get(t, m, "/etc/docker/daemon.json"); strings.Count(got, "runtimeArgs") != 1+strings.Count(test.before, "runtimeArgs") {
			t.Errorf("%s, with a container, the runtime has no arguments:\n%s", test.before, got)
		}
		if err := os.RemoveAll(m.path("/var/lib/docker")); err != nil {
			t.Fatal(err)
		}
		carryOut(t, m, m.UninstallDocker)
		if test.before == "" || test.before == "{}" {
			if m.exists("/etc/docker/daemon.json") {
				t.Errorf("%q: at the end there is %s", test.before, get(t, m, "/etc/docker/daemon.json"))
			}
			continue
		}
		if got := compact(t, get(t, m, "/etc/docker/daemon.json")); got != test.before {
			t.Errorf("%s: at the end it is %s", test.before, got)
		}
	}
}

// TestDockerRefuses wants a file that is not understood to stay as it is, and Docker's own flags to count.
func TestDockerRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`{"a":`:                    "unexpected end of JSON input; it was not changed",
		`[]`:                       "no JSON object",
		`{"a":1,"a":2}`:            `it has "a" twice`,
		`{"runtimes":1}`:           `"runtimes": `,
		`{"default-runtime":"io"}`: `it has no "io"`,
		`{"default-runtime":"kata","runtimes":{"kata":{"runtimeType":"io.containerd.kata.v2"}}}`: `the default runtime "kata" has no path`,
	} {
		m := machine(t)
		put(t, m, "/etc/docker/daemon.json", text)
		if _, err := m.InstallDocker(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	m := machine(t)
	put(t, m, "/proc/12/cmdline", "/usr/sbin/dockerd\x00-H\x00fd://\x00--default-runtime=crun\x00")
	if _, err := m.InstallDocker(); err == nil || !strings.Contains(err.Error(), "dockerd runs with --default-runtime") {
		t.Errorf("with a flag: %v", err)
	}
}

// TestTakenBack has Docker refuse to read the new configuration.
func TestTakenBack(t *testing.T) {
	m := machine(t)
	put(t, m, "/etc/docker/daemon.json", `{"debug":true}`)
	put(t, m, "/run/docker.pid", "1")
	put(t, m, "/run/systemd/system/x", "")
	p, err := m.InstallDocker()
	if err != nil || !strings.Contains(p.String(), "$ systemctl reload docker.service\n") {
		t.Fatalf("%v: %v", err, p)
	}
	runs := 0
	err = m.Apply(p, func(Command) error {
		if runs++; runs == 1 {
			return errors.New("no")
		}
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "systemctl reload docker.service failed: no; the files are as before") || runs != 2 {
		t.Errorf("%v, %d runs", err, runs)
	}
	if got := get(t, m, "/etc/docker/daemon.json"); got != `{"debug":true}` {
		t.Errorf("the file is %s", got)
	}
}

func compact(t *testing.T, text string) string {
	t.Helper()
	o := &object{}
	if err := json.Unmarshal([]byte(text), o); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
