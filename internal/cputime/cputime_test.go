package cputime

import (
	"testing"
	"time"
)

func TestUsed(t *testing.T) {
	// Work is counted, waiting is not.
	start := Used()
	time.Sleep(100 * time.Millisecond)
	if waited := Used() - start; waited > 50*time.Millisecond {
		t.Errorf("a wait used %v", waited)
	}
	n := 0
	for Used()-start < 10*time.Millisecond {
		n++
	}
	if n == 0 {
		t.Error("no work was counted")
	}
}
