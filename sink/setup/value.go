package setup

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/ebpfguard/ebpfguard/internal/strictyaml"
	"github.com/ebpfguard/ebpfguard/sink"
)

// Value is what a key sets. [pflag.Value] has the same methods.
//
// [pflag.Value]: https://pkg.go.dev/github.com/spf13/pflag#Value
type Value interface {
	// Set sets it; the error says what to write.
	Set(string) error
	// String returns what it is set to.
	String() string
	// Type names what may be written. Values of "bool" must be true or false, those of
	// "size", "uint" and "duration" may be numbers in the configuration, all others
	// are strings.
	Type() string
}

// Size is a number of bytes. As text it may end in KiB, MiB or GiB.
type Size uint64

var sizeUnits = []struct {
	name  string
	shift uint
}{{"GiB", 30}, {"MiB", 20}, {"KiB", 10}}

// Set implements [Value].
func (s *Size) Set(text string) error {
	shift := uint(0)
	digits := text
	for _, unit := range sizeUnits {
		if rest, ok := strings.CutSuffix(text, unit.name); ok {
			digits, shift = strings.TrimSpace(rest), unit.shift
		}
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || n > math.MaxInt64>>shift {
		return fmt.Errorf("%q is not a size; write a number of bytes, or a number with KiB, MiB or GiB", text)
	}
	*s = Size(n << shift)
	return nil
}

// String implements [Value].
func (s *Size) String() string {
	for _, unit := range sizeUnits {
		if n := uint64(*s) >> unit.shift; n > 0 && n<<unit.shift == uint64(*s) {
			return fmt.Sprintf("%d%s", n, unit.name)
		}
	}
	return strconv.FormatUint(uint64(*s), 10)
}

// Type implements [Value].
func (*Size) Type() string { return "size" }

// Text returns a value that may be any text.
func Text(to *string) Value { return (*text)(to) }

type text string

func (t *text) Set(s string) error { *t = text(s); return nil }

func (t *text) String() string { return string(*t) }

func (*text) Type() string { return "string" }

// Number returns a value that is a number from 0.
func Number(to *uint) Value { return (*number)(to) }

type number uint

func (n *number) Set(s string) error {
	value, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return fmt.Errorf("%q is not a number from 0; write a number such as 5", s)
	}
	*n = number(value)
	return nil
}

func (n *number) String() string { return strconv.FormatUint(uint64(*n), 10) }

func (*number) Type() string { return "uint" }

// Format returns a value that is the form of lines.
func Format(to *sink.Format) Value { return Choice(to, sink.FormatJSON, sink.FormatText) }

// Choice returns a value out of a few.
func Choice[T ~string](to *T, from ...T) Value { return choice[T]{to, from} }

type choice[T ~string] struct {
	value *T
	from  []T
}

func (c choice[T]) Set(text string) error {
	if !slices.Contains(c.from, T(text)) {
		return fmt.Errorf("unknown %q; %s", text, strictyaml.Suggest(text, strings.Split(c.Type(), "|")))
	}
	*c.value = T(text)
	return nil
}

func (c choice[T]) String() string {
	if c.value == nil { // pflag asks a zero value
		return ""
	}
	return string(*c.value)
}

func (c choice[T]) Type() string {
	var texts []string
	for _, v := range c.from {
		texts = append(texts, string(v))
	}
	return strings.Join(texts, "|")
}
