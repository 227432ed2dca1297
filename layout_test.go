package ebpfguard

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/internal/bpf"
)

// TestLayout fails when what is pinned has changed since the layout got its number: a
// process of another version would misread it. Then count `layout` in
// internal/bpf/pins.go up, once a release, and write the new line into testdata/layout.
func TestLayout(t *testing.T) {
	spec, err := bpf.LoadGuard()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for name, m := range spec.Maps {
		if !strings.HasPrefix(name, ".") {
			lines = append(lines, fmt.Sprintf("map %s %v %d %d %#x %v", name, m.Type, m.KeySize, m.ValueSize, m.Flags, m.Value))
		}
	}
	for name, v := range map[string]any{
		"revision": abi.Revision{}, "subjects": abi.Subjects{}, "operation": abi.Operation{}, "tables": abi.Tables{},
		"entry": abi.Entry{}, "node": abi.Node{}, "atom word": abi.AtomWord{}, "alert": abi.Alert{}, "counters": abi.OperationCounters{}, "rule counters": abi.RuleCounters{},
	} {
		lines = append(lines, name+" "+shape(reflect.TypeOf(v)))
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	now := fmt.Sprintf("%d %s\n", bpf.Layout(), hex.EncodeToString(sum[:]))
	recorded, err := os.ReadFile("testdata/layout")
	if err != nil {
		t.Fatal(err)
	}
	if string(recorded) != now {
		t.Errorf("what is pinned is not what testdata/layout says.\nNow:      %sRecorded: %s", now, recorded)
	}
}

// shape returns a type with all that it consists of.
func shape(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Struct:
		var b strings.Builder
		b.WriteString("{")
		for f := range t.Fields() {
			fmt.Fprintf(&b, "%s %s; ", f.Name, shape(f.Type))
		}
		return b.String() + "}"
	case reflect.Slice:
		return "[]" + shape(t.Elem())
	case reflect.Array:
		return fmt.Sprintf("[%d]%s", t.Len(), shape(t.Elem()))
	case reflect.Map:
		return fmt.Sprintf("map[%s]%s", shape(t.Key()), shape(t.Elem()))
	}
	return t.Kind().String()
}
