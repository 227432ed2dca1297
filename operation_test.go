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
			if !slices.ContainsFunc(o.hooks, func(h hook) bool { return !h.optional() && !h.revoke && h.needed == nil }) {
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

// TestNeededHooks tells for rules which hooks they need of those that some rules do not.
func TestNeededHooks(t *testing.T) {
	file := func(p policy.FilePattern) policy.Rule {
		return policy.Rule{Operation: policy.FileOpen, Allow: []policy.Pattern{policy.FilePattern{All: true}}, Deny: []policy.Pattern{p}}
	}
	program := func(deny ...policy.Pattern) policy.Rule {
		return policy.Rule{Operation: policy.BprmCheckSecurity, Deny: deny}
	}
	paths := []string{"/x"}
	revoking := file(policy.FilePattern{Paths: paths, Access: policy.Exec})
	revoking.Revoke = true
	for _, test := range []struct {
		name string
		rule policy.Rule
		want string
	}{
		{"any access", file(policy.FilePattern{Paths: paths}), "file_ioctl file_mprotect inode_setattr mmap_file path_link path_rename path_unlink"},
		{"all files", file(policy.FilePattern{All: true}), "file_ioctl file_mprotect inode_setattr mmap_file path_link path_rename path_unlink"},
		{"read", file(policy.FilePattern{Paths: paths, Access: policy.Read}), "file_ioctl path_link path_rename"},
		{"write", file(policy.FilePattern{Paths: paths, Access: policy.Write}), "file_ioctl inode_setattr path_link path_rename path_unlink"},
		{"exec", file(policy.FilePattern{Paths: paths, Access: policy.Exec}), "file_mprotect mmap_file path_link path_rename"},
		{"exec, revoked", revoking, "file_mprotect file_permission mmap_file path_link path_rename revoke_mmap"},
		{"an allow alone", policy.Rule{Operation: policy.FileOpen, Allow: []policy.Pattern{policy.FilePattern{All: true}}}, ""},
		{"all programs", program(policy.ProgramPattern{All: true}), ""},
		{"no arguments", program(policy.ProgramPattern{NoArgs: true}), ""},
		{"a program", program(policy.ProgramPattern{NoArgs: true}, policy.ProgramPattern{Paths: paths}), "file_mprotect mmap_file"},
		{"fileless", program(policy.ProgramPattern{Fileless: true}), "file_mprotect mmap_file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o, err := operationByName(test.rule.Operation)
			if err != nil {
				t.Fatal(err)
			}
			var needed []string
			for _, h := range o.hooks {
				if (h.needed != nil || h.revoke) && h.isNeeded(test.rule) {
					needed = append(needed, h.programName())
				}
			}
			for _, name := range []string{"file_ioctl", "file_mprotect", "file_permission", "inode_setattr", "mmap_file", "path_link", "path_rename", "path_unlink", "revoke_mmap"} {
				if got, want := slices.Contains(needed, name), slices.Contains(strings.Fields(test.want), name); got != want {
					t.Errorf("it needs %s: %v, want %v", name, got, want)
				}
			}
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
