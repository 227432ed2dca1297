package config

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// Size is a number of bytes. As text it may end in KiB, MiB or GiB.
type Size uint64

var sizeUnits = []struct {
	name  string
	shift uint
}{{"GiB", 30}, {"MiB", 20}, {"KiB", 10}}

// Set implements [pflag.Value].
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
		return fmt.Errorf("%q is no size; write a number of bytes, or one with KiB, MiB or GiB", text)
	}
	*s = Size(n << shift)
	return nil
}

// String implements [pflag.Value].
func (s *Size) String() string {
	for _, unit := range sizeUnits {
		if n := uint64(*s) >> unit.shift; n > 0 && n<<unit.shift == uint64(*s) {
			return fmt.Sprintf("%d%s", n, unit.name)
		}
	}
	return strconv.FormatUint(uint64(*s), 10)
}

// Type implements [pflag.Value].
func (*Size) Type() string { return "size" }

// choice is a value out of a few.
type choice[T ~string] struct {
	value *T
	from  []T
}

func (c choice[T]) Set(text string) error {
	if !slices.Contains(c.from, T(text)) {
		return fmt.Errorf("unknown %q; choose from %s", text, c.Type())
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

// levelValue is a level of messages.
type levelValue struct{ level *slog.Level }

func (v levelValue) Set(text string) error {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		if text == strings.ToLower(level.String()) {
			*v.level = level
			return nil
		}
	}
	return fmt.Errorf("unknown level %q; choose from %s", text, v.Type())
}

func (v levelValue) String() string {
	if v.level == nil {
		return ""
	}
	return strings.ToLower(v.level.String())
}

func (levelValue) Type() string { return "debug|info|warn|error" }

// outputsValue is the list of outputs as flags: each is a mapping of YAML, and the
// first replaces what was there.
type outputsValue struct {
	outputs *[]Output
	texts   []string
}

func (v *outputsValue) Set(text string) error {
	if text == "none" {
		*v.outputs, v.texts = nil, []string{text}
		return nil
	}
	if slices.Contains(v.texts, "none") {
		return errors.New("none is no output beside others; leave it out")
	}
	output, err := parseOutput(text)
	if err != nil {
		return err
	}
	if v.texts == nil {
		*v.outputs = nil
	}
	*v.outputs = append(*v.outputs, output)
	v.texts = append(v.texts, text)
	return nil
}

func (v *outputsValue) String() string { return strings.Join(v.texts, " ") }

func (*outputsValue) Type() string { return "output" }

// Append, Replace and GetSlice implement [pflag.SliceValue].
func (v *outputsValue) Append(text string) error { return v.Set(text) }

func (v *outputsValue) Replace(texts []string) error {
	v.texts = nil
	var errs []error
	for _, text := range texts {
		errs = append(errs, v.Set(text))
	}
	return errors.Join(errs...)
}

func (v *outputsValue) GetSlice() []string { return v.texts }

var _ pflag.SliceValue = (*outputsValue)(nil)
