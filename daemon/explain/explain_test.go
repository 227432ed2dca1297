package explain_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/daemon/explain"
	"github.com/ebpfguard/ebpfguard/policy"
)

// TestFields expects a field for each flag, in the form of the flag, and no other.
func TestFields(t *testing.T) {
	for _, c := range []struct {
		message proto.Message
		flags   []*policy.Flag
	}{{&pb.DescribedProcess{}, policy.ProcessFlags()}, {&pb.DescribedObject{}, policy.ObjectFlags()}} {
		fields := c.message.ProtoReflect().Descriptor().Fields()
		if fields.Len() != len(c.flags) {
			t.Errorf("%T has %d fields for %d flags", c.message, fields.Len(), len(c.flags))
		}
		given := map[string][]string{}
		for _, flag := range c.flags {
			f := fields.ByName(protoreflect.Name(strings.ReplaceAll(flag.Name, "-", "_")))
			list := flag.Form == policy.FlagList || flag.Form == policy.FlagRepeated
			if f == nil || f.IsList() != list || (f.Kind() == protoreflect.BoolKind) != (flag.Form == policy.FlagSwitch) || flag.Form == policy.FlagText && !f.HasPresence() {
				t.Errorf("%T has no field for --%s, or of another form", c.message, flag.Name)
				continue
			}
			switch {
			case list:
				given[flag.Name] = []string{"a,b", "c"}
			case flag.Form == policy.FlagSwitch:
				given[flag.Name] = []string{"true"}
			case flag.Name == "port":
				given[flag.Name] = []string{"0"} // not the same as none
			default:
				given[flag.Name] = []string{""}
			}
		}
		if err := explain.Describe(c.message, given); err != nil {
			t.Error(err)
		}
		if got := explain.Given(c.message); !reflect.DeepEqual(got, given) {
			t.Errorf("%T: %v\nwant %v", c.message, got, given)
		}
	}
	if got := explain.Given((*pb.DescribedObject)(nil)); len(got) != 0 {
		t.Errorf("nothing is described as %v", got)
	}
	if err := explain.Describe(&pb.DescribedObject{}, map[string][]string{"port": {""}}); err == nil || err.Error() != `--port "" is no number from 0 to 65535; write one` {
		t.Errorf("a port that is none: %v", err)
	}
}

// TestExplanation carries an explanation with all that it can have, and one without anything.
func TestExplanation(t *testing.T) {
	set, err := policy.Parse("p.yaml", []byte(`apiVersion: ebpfguard.io/v1alpha1
kind: Policy
metadata: {name: p}
spec:
  subject: {}
  rules:
  - {operation: socket_bind, allow: {ports: [22]}, deny: all, message: no, severity: high, tags: [a, b]}
`))
	if err != nil {
		t.Fatal(err)
	}
	winners := 0
	for _, p := range []policy.Process{{Binary: "/b", Script: "/s", Cgroup: "/c"}, {Unknown: true}} {
		for _, o := range []policy.Object{policy.Socket{Port: 22}, policy.Socket{Port: 0, Automatic: policy.DefaultAutomatic}} {
			want := policy.Explain(set, policy.Request{Process: p, Operation: policy.SocketBind, Object: o})
			m, err := explain.Message(want)
			if err != nil {
				t.Fatal(err)
			}
			got, err := explain.Explanation(m)
			if err != nil {
				t.Fatal(err)
			}
			one, err1 := json.Marshal(got)
			two, err2 := json.Marshal(want)
			if err1 != nil || err2 != nil || string(one) != string(two) || got.String() != want.String() {
				t.Errorf("%v, %v, got %s\nwant %s", err1, err2, one, two)
			}
			winners += bytes.Count(one, []byte(`"tags"`))
		}
	}
	if winners == 0 {
		t.Error("no rule decides any of them")
	}
	// A field that comes later is in both.
	for _, c := range []struct{ value, message any }{
		{policy.Explanation{}, &pb.Explanation{}}, {policy.RuleReference{}, &pb.ExplainedRule{}}, {policy.ExplainedCandidate{}, &pb.ExplainedCandidate{}},
	} {
		fields := c.message.(proto.Message).ProtoReflect().Descriptor().Fields()
		n := 0
		for i := range reflect.TypeOf(c.value).NumField() {
			name, _, _ := strings.Cut(reflect.TypeOf(c.value).Field(i).Tag.Get("json"), ",")
			if name == "-" {
				continue
			}
			n++
			if fields.ByName(protoreflect.Name(name)) == nil {
				t.Errorf("%T has no field %s", c.message, name)
			}
		}
		if n != fields.Len() {
			t.Errorf("%T has %d fields for %d", c.message, fields.Len(), n)
		}
	}
}
