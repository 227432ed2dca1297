package main

import (
	"io"
	"strings"

	"github.com/spf13/pflag"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// answerFlag adds --output to a command that prints an answer of the daemon.
func answerFlag(f *pflag.FlagSet, to *output) {
	*to = outputText
	outputFlag(f, to, "the `format`: text or json", outputText, outputJSON)
}

// printAnswer prints what the daemon answered: as JSON, or in words.
func printAnswer(w io.Writer, format output, answer proto.Message, words func() error) error {
	if format == outputJSON {
		return printMessage(w, answer)
	}
	return words()
}

// printMessage prints what the daemon said as JSON, with the names of the
// interface (guard.proto). Unlike protojson it writes all numbers as numbers.
func printMessage(w io.Writer, m proto.Message) error {
	return printJSON(w, plainMessage(m.ProtoReflect()))
}

// plainMessage returns all fields of a message; those of a message that is not
// there are null.
func plainMessage(m protoreflect.Message) any {
	switch v := m.Interface().(type) {
	case *timestamppb.Timestamp:
		return v.AsTime()
	case *durationpb.Duration:
		return v.AsDuration().Seconds()
	}
	plain := map[string]any{}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		switch {
		case f.IsMap():
			values := map[string]any{}
			m.Get(f).Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
				values[k.String()] = plainValue(f.MapValue(), v)
				return true
			})
			plain[string(f.Name())] = values
		case f.IsList():
			list := m.Get(f).List()
			values := make([]any, list.Len())
			for j := range values {
				values[j] = plainValue(f, list.Get(j))
			}
			plain[string(f.Name())] = values
		case f.Message() != nil && !m.Has(f):
			plain[string(f.Name())] = nil
		default:
			plain[string(f.Name())] = plainValue(f, m.Get(f))
		}
	}
	return plain
}

func plainValue(f protoreflect.FieldDescriptor, v protoreflect.Value) any {
	switch {
	case f.Message() != nil:
		return plainMessage(v.Message())
	case f.Enum() != nil:
		return enumWord(f.Enum(), v.Enum())
	}
	return v.Interface()
}

// enumWord returns the value without the name of its type: enforcing and not
// STATE_ENFORCING.
func enumWord(e protoreflect.EnumDescriptor, n protoreflect.EnumNumber) string {
	value := e.Values().ByNumber(n)
	if value == nil {
		return "unknown"
	}
	_, word, _ := strings.Cut(string(value.Name()), "_")
	return strings.ToLower(word)
}
