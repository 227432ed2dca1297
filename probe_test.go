package ebpfguard

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// TestOtherSystem tells what NewManager says where there is no Linux.
func TestOtherSystem(t *testing.T) {
	for _, system := range []string{"darwin", "freebsd", "windows"} {
		err := Report{Checks: []Check{probeSystem(system)}}.Err()
		if !errors.Is(err, ErrNotSupported) || !strings.Contains(err.Error(), system) || !strings.Contains(err.Error(), "use Linux 5.10 or later") {
			t.Errorf("%s: %v", system, err)
		}
	}
	if c := probeSystem("linux"); !c.OK {
		t.Errorf("Linux: %+v", c)
	}
}

func TestJITCheck(t *testing.T) {
	for value, want := range map[string]bool{"0\n": false, "1\n": true, "2\n": true} {
		c := jitCheck([]byte(value), nil)
		if c.OK != want || !want && !strings.Contains(c.Remedy, "sysctl -w net.core.bpf_jit_enable=1") {
			t.Errorf("%q: %+v", value, c)
		}
		if err := (Report{Checks: []Check{c}}).Err(); !want && !strings.Contains(err.Error(), "net.core.bpf_jit_enable is 0") {
			t.Errorf("%q: %v", value, err)
		}
	}
	if c := jitCheck(nil, os.ErrNotExist); !c.OK {
		t.Errorf("unknown: %+v", c)
	}
}

func TestBootRemedy(t *testing.T) {
	for want, lsms := range map[string][]string{
		"run sudo ebpfguard enable and reboot; or by hand, add lsm=yama,apparmor,bpf to the kernel command line": {"yama", "apparmor"},
		"mount securityfs (mount -t securityfs securityfs /sys/kernel/security), then run sudo ebpfguard enable": nil,
	} {
		if got := bootRemedy(lsms); !strings.HasPrefix(got, want) {
			t.Errorf("%q, want first %q", got, want)
		}
	}
}
