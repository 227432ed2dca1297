package ebpfguard

import (
	"errors"
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
