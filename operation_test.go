package ebpfguard

import (
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/internal/bpf"
	"github.com/ebpfguard/ebpfguard/policy"
)

// TestEveryOperationIsWhole fails by name for each part that an operation lacks here.
func TestEveryOperationIsWhole(t *testing.T) {
	var names []policy.Operation
	for _, o := range operations {
		names = append(names, o.name)
	}
	if want := policy.Operations(); !slices.Equal(names, want) {
		t.Fatalf("operations are %v, those of policies %v", names, want)
	}
	spec, err := bpf.LoadGuard()
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range operations {
		t.Run(string(o.name), func(t *testing.T) {
			if o.id() == 0 || o.id() >= abi.Operations {
				t.Errorf("enum operation_id has no place for it: its number is %d of %d", o.id(), abi.Operations)
			}
			if !slices.ContainsFunc(o.hooks, func(h hook) bool { return !h.optional() && !h.revoke }) {
				t.Error("hooks has none that must be there")
			}
			for _, h := range o.hooks {
				if h.effect == "" || spec.Programs[h.programName()] == nil {
					t.Errorf("hook %s has no effect, or the object no program %s", h.name, h.programName())
				}
			}
			goName := camel(string(o.name))
			if _, ok := reflect.TypeFor[*Manager]().MethodByName("Attach" + goName); !ok {
				t.Errorf("there is no Manager.Attach%s", goName)
			}
			testAlert(t, o, goName+"Alert")
		})
	}
}

func testAlert(t *testing.T, o *operation, name string) {
	alert := o.alert(AlertContext{Operation: o.name, Verdict: policy.Deny, Rule: -1}, record{})
	if got := reflect.TypeOf(alert).Name(); got != name {
		t.Errorf("its alert is a %s and no %s", got, name)
	}
	if other := alert.WithContext(AlertContext{ID: "7"}); reflect.TypeOf(other) != reflect.TypeOf(alert) || other.Context().ID != "7" {
		t.Errorf("WithContext returns %#v", other)
	}
	if !reflect.TypeOf(alert.Object()).Comparable() {
		t.Errorf("Object returns a %T, which cannot be compared", alert.Object())
	}
	if text := alert.String(); !strings.Contains(text, "deny "+string(o.name)) {
		t.Errorf("its text is %q", text)
	}
	data, err := json.Marshal(alert)
	if err != nil {
		t.Fatal(err)
	}
	var decoded struct{ Object map[string]any }
	if err := json.Unmarshal(data, &decoded); err != nil {
		t.Fatal(err)
	}
	if len(decoded.Object) == 0 {
		t.Errorf("MarshalJSON tells nothing of the object: %s", data)
	}
	for key := range decoded.Object {
		if !regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`).MatchString(key) {
			t.Errorf("MarshalJSON has the key %q", key)
		}
	}
}

// camel returns what socket_bind is called in Go.
func camel(name string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(name, "_") {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}
