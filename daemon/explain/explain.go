// Package explain carries the questions and answers of policy.Explain over the daemon's API: the
// command asks by flags, and the messages have the fields of the flags and of the answer's JSON.
package explain

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/policy"
)

// fieldName returns the name of the field for a flag.
func fieldName(flag string) protoreflect.Name {
	return protoreflect.Name(strings.ReplaceAll(flag, "-", "_"))
}

// Given returns the fields of a description that are set, as [policy.Description] has flags.
func Given(description proto.Message) map[string][]string {
	given := map[string][]string{}
	description.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		var values []string
		if f.IsList() {
			for i := range v.List().Len() {
				values = append(values, v.List().Get(i).String())
			}
		} else {
			values = []string{fmt.Sprint(v.Interface())}
		}
		given[strings.ReplaceAll(string(f.Name()), "_", "-")] = values
		return true
	})
	return given
}

// Describe sets the fields of a description by flags, as [Given] returns them.
func Describe(description proto.Message, given map[string][]string) error {
	m := description.ProtoReflect()
	for flag, values := range given {
		f := m.Descriptor().Fields().ByName(fieldName(flag))
		switch {
		case f.IsList():
			list := m.Mutable(f).List()
			for _, value := range values {
				list.Append(protoreflect.ValueOfString(value))
			}
		case f.Kind() == protoreflect.BoolKind:
			m.Set(f, protoreflect.ValueOfBool(values[0] == "true"))
		case f.Kind() == protoreflect.Uint32Kind:
			n, err := strconv.ParseUint(values[0], 10, 32)
			if err != nil {
				return fmt.Errorf("--%s %q is no number from 0 to 65535; write one", flag, values[0])
			}
			m.Set(f, protoreflect.ValueOfUint32(uint32(n)))
		default:
			m.Set(f, protoreflect.ValueOfString(values[0]))
		}
	}
	return nil
}

// Message returns an explanation as the API has it.
func Message(e policy.Explanation) (*pb.Explanation, error) {
	text, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	m := &pb.Explanation{}
	return m, protojson.Unmarshal(text, m)
}

// Explanation returns what [Message] was made of, without Decision and Candidate.
func Explanation(m *pb.Explanation) (e policy.Explanation, err error) {
	text, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(m)
	if err != nil {
		return e, err
	}
	return e, json.Unmarshal(text, &e)
}
