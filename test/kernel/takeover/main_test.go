//go:build vm

package takeover

import (
	"testing"

	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

func TestMain(m *testing.M) { guardtest.Main(m, map[string]func(){"pinned": managePinned}) }
