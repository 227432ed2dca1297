//go:build vm

package container

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/internal/vmtest"
)

// report is what check prints.
type report struct {
	Enforcing bool
	LSMs      []string
	Checks    []struct {
		Name, Detail, Remedy string
		OK, Required, Gap    bool
	}
}

// missing returns the checks that are not well: those that are required, and gaps; and others.
func (r report) missing() (serious, others []string) {
	for _, c := range r.Checks {
		switch {
		case c.OK:
		case c.Required || c.Gap:
			serious = append(serious, c.Name)
		default:
			others = append(others, c.Name)
		}
	}
	return serious, others
}

func (r report) remedies() string {
	var all []string
	for _, c := range r.Checks {
		if !c.OK {
			all = append(all, c.Detail+"; "+c.Remedy)
		}
	}
	return strings.Join(all, "\n")
}

// TestMissing leaves out each capability and mount that docs/containers.md lists: check tells what is missing and what to
// do, and run refuses to start where policies or alerts would be worth less.
func TestMissing(t *testing.T) {
	vmtest.Require(t, "file_open")
	h := newHost(t)
	full := recommended("tried", h.volumes()...)
	host := func(options ...string) func(*place) {
		return func(p *place) { p.volumes = append(p.volumes, mount{"/host", "bind", "/", options}) }
	}
	// The host's root, where it is reached, has a /proc that may be written.
	theSwitch := []string{"the kernel's switch for programs"}
	// As systemd makes it: only so does a container see what is mounted later.
	check(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""))
	noPIDs := func(p *place) { p.pids = false }
	noCgroups := func(p *place) { p.cgroups = false }
	for _, tt := range []struct {
		name  string
		place place
		flags []string
		// serious are refused, others told by check only.
		serious, others []string
		// remedy is a part of what is said.
		remedy string
	}{
		{"nothing", full, nil, nil, nil, ""},
		{"CAP_BPF", full.without("CAP_BPF"), nil, []string{"loading LSM programs"}, nil, "it lacks CAP_BPF"},
		{"CAP_PERFMON", full.without("CAP_PERFMON"), nil, []string{"loading LSM programs"}, nil, "it lacks CAP_PERFMON"},
		{"CAP_SYS_PTRACE", full.without("CAP_SYS_PTRACE"), nil, []string{"paths of the host", "programs of other processes"}, theSwitch, "--cap-add SYS_PTRACE"},
		{"CAP_DAC_READ_SEARCH", full.without("CAP_DAC_READ_SEARCH"), nil, []string{"files in folders of others", "control groups in alerts"}, nil, "--cap-add DAC_READ_SEARCH"},
		{"CAP_SYSLOG", full.without("CAP_SYSLOG"), nil, nil, []string{"paths of files"}, "CAP_SYSLOG"},
		{"CAP_KILL", full.without("CAP_KILL"), nil, nil, []string{"signals to other processes"}, "--cap-add KILL"},
		{"the host's pids", full.with(noPIDs), nil, []string{"paths of the host", "processes of the host"}, theSwitch, "--pid host"},
		{"the host's cgroup namespace", full.with(noCgroups), nil, nil, nil, ""},
		{"the host's cgroup namespace and root", full.with(noCgroups), []string{"--host-root="}, []string{"paths of the host", "control groups in alerts"}, theSwitch, "--cgroupns host"},
		{"the host's bpffs", full.unmounted("/sys/fs/bpf"), nil, []string{"pins"}, nil, "--volume /sys/fs/bpf:/sys/fs/bpf"},
		{"the host's root", full, []string{"--host-root="}, []string{"paths of the host"}, theSwitch, "--host-root auto"},
		{"a host's root that is not there", full, []string{"--host-root=/no/such"}, []string{"cannot be opened"}, nil, "no such file"},
		{"the host's pids, but its root is mounted", full.with(noPIDs).with(host("rbind", "rslave", "rro")), []string{"--host-root=/host"}, []string{"processes of the host"}, theSwitch, "--pid host"},
		{"the propagation of a mounted root", full.with(host("rbind", "rprivate", "ro")), []string{"--host-root=/host"}, []string{"paths of the host"}, nil, "rslave"},
		{"the filesystems of a mounted root", full.with(host("bind", "rslave", "ro")), []string{"--host-root=/host"}, []string{"paths of the host"}, nil, "rbind"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := tt.place.run(t, append([]string{"check", "--output", "json"}, tt.flags...)...)
			if tt.serious != nil && tt.serious[0] == "cannot be opened" {
				if out.code != 1 || !strings.Contains(out.stderr, tt.remedy) {
					t.Errorf("%+v", out)
				}
				return
			}
			var r report
			if err := json.Unmarshal([]byte(out.stdout), &r); err != nil {
				t.Fatalf("%v: %+v", err, out)
			}
			t.Logf("%s", r.remedies())
			serious, others := r.missing()
			if !slices.Equal(serious, tt.serious) || !slices.Equal(others, tt.others) {
				t.Errorf("missing are %q and %q, want %q and %q", serious, others, tt.serious, tt.others)
			}
			if !strings.Contains(r.remedies(), tt.remedy) {
				t.Errorf("%q is not said", tt.remedy)
			}
			if r.Enforcing && len(r.LSMs) == 0 && !slices.Contains(serious, "paths of the host") {
				t.Error("the active security modules are not found, without securityfs here")
			}
			if len(tt.serious) == 0 || slices.Contains(tt.serious, "pins") {
				return
			}
			run := tt.place.run(t, append([]string{"run", "/etc/ebpfguard/policies.d"}, tt.flags...)...)
			if run.code != 1 || !strings.Contains(run.stderr, tt.remedy) {
				t.Errorf("run: %+v", run)
			}
		})
	}
}

// TestGaps allows gaps: it enforces what it can, says what it cannot, and that is so.
func TestGaps(t *testing.T) {
	vmtest.Require(t, "file_open")
	h := newHost(t)
	p := recommended("gaps", h.volumes()...).without("CAP_SYS_PTRACE").without("CAP_DAC_READ_SEARCH").without("CAP_SYSLOG").without("CAP_KILL")
	refused := p.run(t, "daemon", "--pins=", "--outputs=none")
	if refused.code != 1 || !strings.Contains(refused.stderr, "paths of the host: ") || !strings.Contains(refused.stderr, "or set Options.AllowGaps (--allow-gaps)") {
		t.Errorf("without --allow-gaps: %+v", refused)
	}
	h.rewrite(t)
	c := h.startDaemon(t, p, "--allow-gaps", "--pins=")
	for path, want := range map[string]string{h.secret: "EPERM", h.private: "EPERM", h.hardlink: "", h.privateLink: "", h.free: ""} {
		if got := open(t, path, 0); got != want {
			t.Errorf("opening %s: %q, want %q", path, got, want)
		}
	}
	c.await("the alerts", func() bool { return len(h.alerts(t)) >= 2 })
	if a := h.alerts(t)[0]; a.Process.Cgroup != "" || a.Policy != "secrets" {
		t.Errorf("%+v", a)
	}
	status := c.exec("status", "--all")
	for _, what := range []string{"DEGRADED", "paths of the host", "files in folders of others", "control groups in alerts", "programs of other processes"} {
		if !strings.Contains(strings.Join(strings.Fields(status.stdout), " "), what) {
			t.Errorf("the status does not say %q:\n%s", what, status.stdout)
		}
	}
	if log := c.log(); !strings.Contains(log, "signals to other processes") || !strings.Contains(log, "add CAP_DAC_READ_SEARCH") {
		t.Errorf("the log does not say what is missing:\n%s", log)
	}
}

// TestGroup wants the host's group to be found, and the capability that gives it the socket to be asked for.
func TestGroup(t *testing.T) {
	h := newHost(t)
	p := recommended("group", h.volumes()...)
	for group, want := range map[string]string{aUser: "add CAP_CHOWN", "nobody-here": "there is no group"} {
		if r := p.run(t, "daemon", "--pins=", "--outputs=none", "--group", group); r.code != 1 || !strings.Contains(r.stderr, want) {
			t.Errorf("%s: %+v, want %q", group, r, want)
		}
	}
}

// TestMountedRoot has the host's root at /host, and its own pid namespace: the host's files are protected by identity.
func TestMountedRoot(t *testing.T) {
	vmtest.Require(t, "file_open")
	h := newHost(t)
	p := recommended("mounted", h.volumes()...).without("CAP_SYS_PTRACE").with(func(p *place) {
		p.pids = false
		p.volumes = append(p.volumes, mount{"/host", "bind", "/", []string{"rbind", "rslave", "ro"}})
	})
	c := h.startDaemon(t, p, "--allow-gaps", "--pins=", "--host-root=/host")
	h.want(t, "by a mounted root", true)
	h.wantAlerts(t, c)
}

// rewrite leaves only the policy that needs no user of the host, by the names of files.
func (h host) rewrite(t *testing.T) {
	t.Helper()
	check(t, os.WriteFile(filepath.Join(h.dir, "policies/p.yaml"), []byte(strings.ReplaceAll(strings.Join(lines(filepath.Join(h.dir, "policies/p.yaml"))[:8], "\n"), h.symlink, h.secret)+"\n"), 0o600))
}
