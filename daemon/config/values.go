package config

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/ebpfguard/ebpfguard/internal/strictyaml"
	"github.com/ebpfguard/ebpfguard/sink/setup"
)

// levelValue is a level of messages.
type levelValue struct{ level *slog.Level }

func (v levelValue) Set(text string) error {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		if text == strings.ToLower(level.String()) {
			*v.level = level
			return nil
		}
	}
	return fmt.Errorf("unknown level %q; %s", text, strictyaml.Suggest(text, strings.Split(v.Type(), "|")))
}

func (v levelValue) String() string {
	if v.level == nil {
		return ""
	}
	return strings.ToLower(v.level.String())
}

func (levelValue) Type() string { return "debug|info|warn|error" }

// OutputsValue returns the value of a flag for outputs. The flag can be repeated: each is a
// mapping of YAML, as in the configuration file, and the first replaces what was there.
func OutputsValue(to *[]setup.Spec) pflag.Value { return &outputsValue{outputs: to} }

type outputsValue struct {
	outputs *[]setup.Spec
	texts   []string
}

func (v *outputsValue) Set(text string) error {
	if text == "none" {
		*v.outputs, v.texts = nil, []string{text}
		return nil
	}
	if slices.Contains(v.texts, "none") {
		return errors.New("none cannot be combined with other outputs; leave it out")
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
