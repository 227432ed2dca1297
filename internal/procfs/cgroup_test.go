package procfs

import "testing"

func TestCgroupMount(t *testing.T) {
	const (
		v1      = "30 24 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755\n32 30 0:28 / /sys/fs/cgroup/cpu rw shared:9 - cgroup cgroup rw,cpu\n"
		hybrid  = "31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:8 - cgroup2 cgroup2 rw,nsdelegate\n"
		unified = "31 30 0:27 / /sys/fs/cgroup rw,nosuid shared:8 - cgroup2 cgroup2 rw\n"
		other   = "99 30 0:27 /a.slice /run/with\\040space rw - cgroup2 none rw\n"
	)
	for text, want := range map[string]string{
		"": "/sys/fs/cgroup", v1: "/sys/fs/cgroup", v1 + hybrid: "/sys/fs/cgroup/unified", unified: "/sys/fs/cgroup",
		other + unified: "/sys/fs/cgroup", unified + other: "/sys/fs/cgroup", v1 + other + hybrid: "/sys/fs/cgroup/unified", other: "/run/with space",
	} {
		if got := cgroupMount(text); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
