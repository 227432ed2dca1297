package footprint

import (
	"strings"
	"testing"

	"github.com/ebpfguard/ebpfguard/policy"
)

func TestBounds(t *testing.T) {
	for _, c := range []struct {
		f    Figures
		want string
	}{
		{Figures{Start: 1 << 30, Idle: MaxIdle - 1, Storm: MaxStorm - 1}, ""},
		{Figures{Idle: MaxIdle, Storm: MaxStorm - 1}, "at rest"},
		{Figures{Idle: MaxIdle - 1, Storm: MaxStorm}, "in a storm"},
	} {
		err := c.f.Err()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v", c.f, err)
		}
	}
}

func TestRules(t *testing.T) {
	set, err := policy.Parse("many.yaml", []byte(rules()))
	if err != nil {
		t.Fatal(err)
	}
	if len(set) != 1 || len(set[0].Rules) != Rules+1 {
		t.Errorf("%d policies", len(set))
	}
}
