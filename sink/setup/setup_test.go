package setup

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/sink"
)

// fake is a sink and its own settings: it notes what becomes of it.
type fake struct {
	name  string
	path  string
	wrong error
	fail  error // of opening, closing and opening anew
	calls *[]string
}

func (f *fake) Keys() []Key { return []Key{{Name: "path", Value: Text(&f.path)}} }

func (f *fake) Validate() error { return f.wrong }

func (f *fake) Exclusive() (key, value string) { return "path", f.path }

func (f *fake) Open(Environment) (sink.Sink, error) {
	*f.calls = append(*f.calls, "open "+f.path)
	return f, f.fail
}

func (f *fake) String() string { return f.name }

func (f *fake) Write(context.Context, ebpfguard.Alert) error { return nil }

func (f *fake) Reopen() error {
	*f.calls = append(*f.calls, "reopen "+f.path)
	return f.fail
}

func (f *fake) Close() error {
	*f.calls = append(*f.calls, "close "+f.path)
	return f.fail
}

func TestOpen(t *testing.T) {
	var calls []string
	a, b := &fake{name: "fake", path: "a", calls: &calls}, &fake{name: "fake", path: "b", calls: &calls}
	specs := []Spec{{Settings: a, Filter: sink.Filter{Verdicts: []string{"deny"}}}, {Settings: b}}
	outputs, err := Open(specs, Environment{})
	if err != nil {
		t.Fatal(err)
	}
	want := []sink.Output{{Name: "fake", Sink: a, Filter: specs[0].Filter}, {Name: "fake 2", Sink: b}}
	if got := outputs.List(); !reflect.DeepEqual(got, want) {
		t.Errorf("outputs %+v, want %+v", got, want)
	}
	b.fail = errors.New("no")
	if err := outputs.Reopen(); !errors.Is(err, b.fail) {
		t.Errorf("opened anew: %v", err)
	}
	if err := outputs.Close(); !errors.Is(err, b.fail) || err.Error() != "close the output fake 2: no" {
		t.Errorf("closed: %v", err)
	}
	// One that cannot be opened leaves none open.
	if outputs, err = Open(specs, Environment{}); outputs != nil || !errors.Is(err, b.fail) {
		t.Errorf("%v, %v", outputs, err)
	}
	order := []string{"open a", "open b", "reopen a", "reopen b", "close a", "close b", "open a", "open b", "close a"}
	if !slices.Equal(calls, order) {
		t.Errorf("calls %q, want %q", calls, order)
	}
}

func TestValidate(t *testing.T) {
	err := Validate([]Spec{
		{Settings: &fake{path: "a"}},
		{Settings: &fake{path: "b", wrong: &KeyError{"path", errors.New("odd")}}, Filter: sink.Filter{Verdicts: []string{"x"}}},
		{Settings: &fake{path: "a"}},
		{},
	})
	var wrong *KeyError
	if !errors.As(err, &wrong) || wrong.Key != "path" {
		t.Errorf("no key in %v", err)
	}
	for _, want := range []string{"outputs[1]: odd\n", "filter: unknown verdict \"x\"", "outputs[2]: another output has the path a; choose another path\n", "outputs[3]: it has no settings"} {
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
}

func TestValues(t *testing.T) {
	var size Size
	var number uint
	var format sink.Format
	for _, c := range []struct {
		value Value
		text  string
		want  string // what it is then, or the error
	}{
		{&size, "16 MiB", "16MiB"}, {&size, "1025", "1025"}, {&size, "8 MB", `"8 MB" is not a size`}, {&size, "9000000000GiB", "is not a size"},
		{Number(&number), "7", "7"}, {Number(&number), "-1", "is not a number from 0"},
		{Format(&format), "text", "text"}, {Format(&format), "xml", `unknown "xml"; choose from json, text`},
	} {
		err := c.value.Set(c.text)
		got := c.value.String()
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%q: %s, want %s", c.text, got, c.want)
		}
	}
	if size != 1025 || number != 7 || format != sink.FormatText {
		t.Errorf("a wrong text changed a value: %d, %d, %s", size, number, format)
	}
}
