package ebpfguard_test

import (
	"encoding/json"
	"errors"
	"maps"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"testing"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
)

// alertsOfAll are alerts of each operation.
func alertsOfAll() []ebpfguard.Alert {
	with := func(o policy.Operation) ebpfguard.AlertContext {
		c := fullContext()
		c.Operation = o
		return c
	}
	mount := ebpfguard.MountObject{Source: "none", Target: "/m", Type: "tmpfs", Flags: policy.AllMountFlags}
	socket := ebpfguard.SocketObject{Address: netip.MustParseAddr("::1"), Port: 22, Protocol: "tcp"}
	return []ebpfguard.Alert{
		ebpfguard.FileOpenAlert{AlertContext: with(policy.FileOpen), FileObject: ebpfguard.FileObject{Path: "/x\u202e\x7f", Access: policy.Read | policy.Exec}},
		ebpfguard.BprmCheckSecurityAlert{AlertContext: with(policy.BprmCheckSecurity), ProgramObject: ebpfguard.ProgramObject{Path: "/x", Fileless: true}},
		ebpfguard.SbMountAlert{AlertContext: with(policy.SbMount), MountObject: mount},
		ebpfguard.SbRemountAlert{AlertContext: with(policy.SbRemount), MountObject: mount},
		ebpfguard.SbUmountAlert{AlertContext: with(policy.SbUmount), MountObject: ebpfguard.MountObject{Target: "/m"}},
		ebpfguard.TaskFixSetuidAlert{AlertContext: with(policy.TaskFixSetuid), CredentialsObject: ebpfguard.CredentialsObject{FromUID: 1, To: 2, Method: "setuid"}},
		ebpfguard.SocketBindAlert{AlertContext: with(policy.SocketBind), SocketObject: socket},
		ebpfguard.SocketConnectAlert{AlertContext: with(policy.SocketConnect), SocketObject: socket},
	}
}

// TestUnmarshalAlert reads back what each operation's alert writes.
func TestUnmarshalAlert(t *testing.T) {
	var seen []policy.Operation
	for _, alert := range alertsOfAll() {
		seen = append(seen, alert.Context().Operation)
		data, err := alert.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		got, err := ebpfguard.UnmarshalAlert(data)
		if err != nil || !reflect.DeepEqual(got, alert) {
			t.Errorf("%v, got %+v, want %+v", err, got, alert)
		}
	}
	if !slices.Equal(seen, policy.Operations()) {
		t.Errorf("operations %v", seen)
	}
	data, err := alertsOfAll()[0].MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	change := func(key string, value any) []byte {
		var m map[string]any
		if err := json.Unmarshal(data, &m); err != nil {
			t.Fatal(err)
		}
		m[key] = value
		changed, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return changed
	}
	if _, err := ebpfguard.UnmarshalAlert(change("more", 1)); err != nil {
		t.Errorf("a key of a later version: %v", err)
	}
	if _, err := ebpfguard.UnmarshalAlert(change("operation", "sb_levitate")); !errors.Is(err, ebpfguard.ErrNotSupported) {
		t.Errorf("an operation of a later version: %v", err)
	}
	for key, value := range map[string]any{"verdict": "maybe", "time": "soon", "object": 7} {
		if _, err := ebpfguard.UnmarshalAlert(change(key, value)); err == nil {
			t.Errorf("%s %v is taken", key, value)
		}
	}
	if _, err := ebpfguard.UnmarshalAlert([]byte("{")); err == nil {
		t.Error("half an alert is taken")
	}
}

// TestSchema expects the keys of alerts in api/alert.schema.json, those that are always there as
// required.
func TestSchema(t *testing.T) {
	type node struct {
		Required   []string
		Properties map[string]json.RawMessage
		AllOf      []struct {
			If struct {
				Properties struct{ Operation struct{ Const string } }
			}
			Then struct {
				Properties struct{ Object json.RawMessage }
			}
		}
	}
	data, err := os.ReadFile("api/alert.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	read := func(data []byte) (n node) {
		t.Helper()
		if err := json.Unmarshal(data, &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	keys := func(data []byte) []string {
		t.Helper()
		var m map[string]json.RawMessage
		if err := json.Unmarshal(data, &m); err != nil {
			t.Fatal(err)
		}
		return slices.Sorted(maps.Keys(m))
	}
	check := func(what string, schema node, value []byte) {
		t.Helper()
		got := keys(value)
		for _, key := range got {
			if schema.Properties[key] == nil {
				t.Errorf("%s: the schema has no %s", what, key)
			}
		}
		for _, key := range schema.Required {
			if !slices.Contains(got, key) {
				t.Errorf("%s: %s is not always there", what, key)
			}
		}
	}
	schema := read(data)
	objects := map[string]node{}
	for _, one := range schema.AllOf {
		objects[one.If.Properties.Operation.Const] = read(one.Then.Properties.Object)
	}
	for _, alert := range alertsOfAll() {
		name := string(alert.Context().Operation)
		full, err := alert.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		bare, err := alert.WithContext(ebpfguard.AlertContext{Operation: alert.Context().Operation, Verdict: policy.Audit}).MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range [][]byte{full, bare} {
			check(name, schema, text)
			var m map[string]json.RawMessage
			if err := json.Unmarshal(text, &m); err != nil {
				t.Fatal(err)
			}
			check(name+" process", read(schema.Properties["process"]), m["process"])
			check(name+" object", objects[name], m["object"])
		}
	}
	if len(objects) != len(policy.Operations()) {
		t.Errorf("the schema knows the objects of %d operations", len(objects))
	}
}
