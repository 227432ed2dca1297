//go:build vm

package storm

import (
	"testing"

	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

func TestMain(m *testing.M) { guardtest.Main(m, nil) }
