package ebpfguard_test

import (
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
)

// fullContext has a value in each field.
func fullContext() ebpfguard.AlertContext {
	at := time.Date(2026, 11, 22, 15, 4, 5, 120_000_000, time.UTC)
	return ebpfguard.AlertContext{
		ID: "1f2e3d4c5b-1267", Time: at, Host: "web1", BootID: "5ad8c2b4-67a5-4c0b-9a1f-3d1f4b1c2e70", Sequence: 42,
		Operation: policy.SocketBind, Hook: "socket_bind", Verdict: policy.Deny, Undecided: true,
		Policy: "no-rogue-sshd", Rule: 0, Message: "nobody listens <here>", Severity: policy.SeverityHigh, Tags: []string{"ssh"},
		Revision: 3, Count: 41, Last: at.Add(10 * time.Second),
		Process: ebpfguard.Process{
			PID: 4711, TID: 4712, PPID: 4700, UID: 1000, GID: 100, Comm: "sshd", Binary: "/usr/sbin/sshd", ParentBinary: "/usr/bin/bash",
			CgroupID: 1234, Cgroup: "/system.slice/ssh.service",
			Namespaces: ebpfguard.Namespaces{Mount: 1, PID: 2, Network: 3, User: 4},
			StartTime:  99,
			Container: &policy.Container{
				ID: "0123456789abcdef", Name: "web", Image: "nginx:1.27", ImageDigest: "sha256:9c5", Labels: map[string]string{"app": "web"}, Runtime: "docker",
				Pod: &policy.Pod{Namespace: "shop", Name: "web-1", UID: "u", Labels: map[string]string{"app": "web"}},
			},
			FirstContainer: &policy.Container{ID: "fedcba9876543210"}, Unidentified: true,
			Args: []string{"sshd", "-D"}, User: "joe", Unit: "ssh.service", ContainerID: "0123456789ab",
			Ancestors: []ebpfguard.Ancestor{
				{PID: 4700, StartTime: 98, Binary: "/usr/bin/bash", Args: []string{"-bash"}},
				{PID: 1, Binary: "/usr/lib/systemd/systemd"},
			},
		},
	}
}

// TestAlertJSON pins the keys that docs/alerts.md promises, and their order.
func TestAlertJSON(t *testing.T) {
	object := ebpfguard.SocketObject{Address: netip.IPv4Unspecified(), Port: 22, Protocol: "tcp"}
	bare := ebpfguard.AlertContext{Operation: policy.SocketBind, Hook: "socket_bind", Verdict: policy.Audit, Rule: -1}
	for name, c := range map[string]struct {
		context ebpfguard.AlertContext
		want    string
	}{
		"full": {fullContext(), `{"time":"2026-11-22T15:04:05.120000000Z","id":"1f2e3d4c5b-1267","host":"web1","boot_id":"5ad8c2b4-67a5-4c0b-9a1f-3d1f4b1c2e70",` +
			`"sequence":42,"operation":"socket_bind","hook":"socket_bind","verdict":"deny","undecided":true,"policy":"no-rogue-sshd","rule":0,` +
			`"message":"nobody listens <here>","severity":"high","tags":["ssh"],"revision":3,"errno":"EPERM","count":41,"last":"2026-11-22T15:04:15.120000000Z",` +
			`"process":{"pid":4711,"tid":4712,"ppid":4700,"uid":1000,"gid":100,"comm":"sshd","binary":"/usr/sbin/sshd","parent":"/usr/bin/bash",` +
			`"cgroup":"/system.slice/ssh.service","cgroup_id":1234,"namespaces":{"mnt":1,"pid":2,"net":3,"user":4},"start_time":99,` +
			`"container":{"id":"0123456789abcdef","name":"web","image":"nginx:1.27","image_digest":"sha256:9c5","labels":{"app":"web"},"runtime":"docker",` +
			`"pod":{"namespace":"shop","name":"web-1","uid":"u","labels":{"app":"web"}}},"first_container":{"id":"fedcba9876543210"},` +
			`"unidentified_container":true,"args":["sshd","-D"],` +
			`"user":"joe","unit":"ssh.service","container_id":"0123456789ab","ancestors":[{"pid":4700,"start_time":98,"binary":"/usr/bin/bash","args":["-bash"]},` +
			`{"pid":1,"binary":"/usr/lib/systemd/systemd"}]},"object":{"address":"0.0.0.0","port":22,"protocol":"tcp"}}`},
		"bare": {bare, `{"time":"0001-01-01T00:00:00.000000000Z","id":"","operation":"socket_bind","hook":"socket_bind","verdict":"audit","policy":"","rule":-1,` +
			`"revision":0,"count":1,"process":{"pid":0,"tid":0,"ppid":0,"uid":0,"gid":0,"comm":"","binary":"","parent":"","cgroup":"","cgroup_id":0,` +
			`"namespaces":{"mnt":0,"pid":0,"net":0,"user":0}},"object":{"address":"0.0.0.0","port":22,"protocol":"tcp"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			// The methods leave <, > and & as they are; encoding/json does not.
			got, err := ebpfguard.SocketBindAlert{AlertContext: c.context, SocketObject: object}.MarshalJSON()
			if err != nil || string(got) != c.want {
				t.Errorf("error %v, got\n%s, want\n%s", err, got, c.want)
			}
		})
	}
}

func TestAlertText(t *testing.T) {
	alert := ebpfguard.SocketBindAlert{
		AlertContext: fullContext(),
		SocketObject: ebpfguard.SocketObject{Address: netip.IPv4Unspecified(), Port: 22, Protocol: "tcp"},
	}
	want := "2026-11-22T15:04:05.120000000Z deny socket_bind 0.0.0.0:22/tcp by /usr/sbin/sshd (pid 4711, uid 1000, started by /usr/bin/bash, in container web of pod shop/web-1): " +
		"policy no-rogue-sshd rule 0 (undecided: the guard could not find out enough): nobody listens <here> (41 times until 2026-11-22T15:04:15.120000000Z)"
	if got := alert.String(); got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
}

// TestAlertWithContext expects that the alert of each operation keeps its type
// and object with another context.
func TestAlertWithContext(t *testing.T) {
	context := fullContext()
	for _, alert := range []ebpfguard.Alert{
		ebpfguard.FileOpenAlert{FileObject: ebpfguard.FileObject{Path: "/x", Access: policy.Read}},
		ebpfguard.BprmCheckSecurityAlert{ProgramObject: ebpfguard.ProgramObject{Path: "/x"}},
		ebpfguard.SbMountAlert{MountObject: ebpfguard.MountObject{Target: "/x"}},
		ebpfguard.SbRemountAlert{MountObject: ebpfguard.MountObject{Target: "/x"}},
		ebpfguard.SbUmountAlert{MountObject: ebpfguard.MountObject{Target: "/x"}},
		ebpfguard.TaskFixSetuidAlert{CredentialsObject: ebpfguard.CredentialsObject{To: 7}},
		ebpfguard.SocketBindAlert{SocketObject: ebpfguard.SocketObject{Port: 22}},
		ebpfguard.SocketConnectAlert{SocketObject: ebpfguard.SocketObject{Port: 22}},
	} {
		changed := alert.WithContext(context)
		if got := changed.Context(); got.ID != context.ID || got.Count != 41 || len(got.Ancestors) != 2 {
			t.Errorf("%T: context %+v", alert, got)
		}
		if id := alert.Context().ID; id != "" {
			t.Errorf("%T: the former alert has id %q now", alert, id)
		}
		if got, want := objectOf(t, changed), objectOf(t, alert); got != want {
			t.Errorf("%T became %T: object %s, want %s", alert, changed, got, want)
		}
	}
}

func objectOf(t *testing.T, alert ebpfguard.Alert) string {
	t.Helper()
	data, err := alert.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	var keys struct{ Object json.RawMessage }
	if err := json.Unmarshal(data, &keys); err != nil {
		t.Fatal(err)
	}
	return string(keys.Object)
}
