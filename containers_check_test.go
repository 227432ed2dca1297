package ebpfguard

import (
	"errors"
	"fmt"
	"testing"

	"github.com/ebpfguard/ebpfguard/internal/bpf"
	"github.com/ebpfguard/ebpfguard/policy"
)

// TestContainersCheck refuses more lists of selectors than a container can be selected by, before a set is applied.
func TestContainersCheck(t *testing.T) {
	c := containers{byNumber: map[uint32]*container{1: {Container: policy.Container{ID: "a", Name: "web"}}}}
	var lists []policy.Inside
	for i := range bpf.MaxSelectors + 1 {
		lists = append(lists, policy.Inside{Containers: []policy.ContainerSelector{{Names: []string{"web", fmt.Sprint(i)}}}})
	}
	if err := c.check(lists[1:]); err != nil {
		t.Errorf("as many as are possible: %v", err)
	}
	if err := c.check(lists); !errors.Is(err, ErrTooLarge) {
		t.Errorf("one more: %v", err)
	}
}
