package hostroot

import (
	"slices"
	"strings"
	"testing"
)

func TestCgroupMount(t *testing.T) {
	const (
		v1      = "30 24 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755\n32 30 0:28 / /sys/fs/cgroup/cpu rw shared:9 - cgroup cgroup rw,cpu\n"
		hybrid  = "31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:8 - cgroup2 cgroup2 rw,nsdelegate\n"
		unified = "31 30 0:27 / /sys/fs/cgroup rw,nosuid shared:8 - cgroup2 cgroup2 rw\n"
		other   = "99 30 0:27 /a.slice /run/with\\040space rw - cgroup2 none rw\n"
	)
	for text, want := range map[string]string{
		"": "", v1: "", v1 + hybrid: "/sys/fs/cgroup/unified", unified: "/sys/fs/cgroup",
		other + unified: "/sys/fs/cgroup", unified + other: "/sys/fs/cgroup", v1 + other + hybrid: "/sys/fs/cgroup/unified", other: "/run/with space",
	} {
		if got := cgroupMount(parseMounts(strings.NewReader(text), "")); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// TestMountsBelow expects the mounts of a host's root that is mounted here, as the host sees them.
func TestMountsBelow(t *testing.T) {
	const text = `20 1 0:20 / / rw - overlay overlay rw
21 20 8:1 / /host ro,relatime master:1 - ext4 /dev/sda1 rw
22 21 0:5 / /host/proc ro master:2 - proc proc rw
23 20 0:9 / /hostile rw - tmpfs tmpfs rw
24 21 8:1 /srv/a /host/mnt/a\040b ro - ext4 /dev/sda1 rw
`
	got := parseMounts(strings.NewReader(text), "/host")
	want := []Mount{
		{Path: "/", Source: "/", Device: "8:1", Type: "ext4", Receives: true},
		{Path: "/proc", Source: "/", Device: "0:5", Type: "proc", Receives: true},
		{Path: "/mnt/a b", Source: "/srv/a", Device: "8:1", Type: "ext4"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}
