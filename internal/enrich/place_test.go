package enrich

import (
	"strings"
	"testing"
)

func TestPlace(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	other := strings.Repeat("f", 64)
	for _, test := range []struct{ cgroup, unit, container string }{
		{"", "", ""},
		{"/", "", ""},
		{"/init.scope", "init.scope", ""},
		{"/system.slice", "", ""},
		{"/system.slice/nginx.service", "nginx.service", ""},
		{"/system.slice/nginx.service/worker", "nginx.service", ""},
		{"/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service", ""},
		{"/system.slice/dbus.socket", "dbus.socket", ""},
		{"/system.slice/_cgroup.service", "cgroup.service", ""},
		{"/user.slice/user-1000.slice/session-3.scope", "session-3.scope", ""},
		{"/user.slice/user-1000.slice/user@1000.service", "user@1000.service", ""},
		{"/user.slice/user-1000.slice/user@1000.service/init.scope", "init.scope", ""},
		{"/user.slice/user-1000.slice/user@1000.service/app.slice/app-editor-1.scope", "app-editor-1.scope", ""},
		{"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + id + ".scope/container", "libpod-" + id + ".scope", id},
		{"/system.slice/docker-" + id + ".scope", "docker-" + id + ".scope", id},
		{"/system.slice/docker-" + id + ".scope/system.slice/nginx.service", "docker-" + id + ".scope", id},
		{"/docker/" + id, "", id},
		{"/docker/" + id + "/docker/" + other, "", other},
		{"/docker/" + id + "/system.slice/nginx.service", "", id},
		{"/kubepods/burstable/pod2f1c/" + id, "", id},
		{"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod2f1c.slice/cri-containerd-" + id + ".scope", "cri-containerd-" + id + ".scope", id},
		{"/kubepods.slice/kubepods-pod2f1c.slice/crio-" + id + ".scope", "crio-" + id + ".scope", id},
		{"/kubepods.slice/kubepods-pod2f1c.slice/crio-conmon-" + id + ".scope", "crio-conmon-" + id + ".scope", ""},
		{"/machine.slice/libpod-" + id + ".scope", "libpod-" + id + ".scope", id},
		{"/machine.slice/libpod-conmon-" + id + ".scope", "libpod-conmon-" + id + ".scope", ""},
		{"/system.slice/containerd.service/kubepods-besteffort-pod2f1c.slice:cri-containerd:" + id, "containerd.service", id},
		{"/docker/" + id[1:], "", ""},
		{"/docker/" + id + "0", "", ""},
		{"/docker/" + strings.ToUpper(id), "", ""},
		{"/.service", "", ""},
	} {
		if unit := Unit(test.cgroup); unit != test.unit {
			t.Errorf("%s: unit %q, want %q", test.cgroup, unit, test.unit)
		}
		if container := ContainerID(test.cgroup); container != test.container {
			t.Errorf("%s: container %q, want %q", test.cgroup, container, test.container)
		}
	}
}

func TestUsers(t *testing.T) {
	asked := 0
	u := Users{Lookup: func(uid uint32) string {
		asked++
		if uid == 1 {
			return ""
		}
		return "somebody"
	}}
	for range 3 {
		if a, b := u.Name(0), u.Name(1); a != "somebody" || b != "" {
			t.Errorf("%q %q", a, b)
		}
	}
	if asked != 2 {
		t.Errorf("asked %d times", asked)
	}
	for uid := range uint32(3 * maxUsers) {
		u.Name(uid)
	}
	if len(u.names) > maxUsers {
		t.Errorf("%d names kept", len(u.names))
	}
}
