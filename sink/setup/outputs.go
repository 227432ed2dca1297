package setup

import (
	"errors"
	"fmt"
	"io"

	"github.com/ebpfguard/ebpfguard/sink"
)

// Spec is an output of a configuration.
type Spec struct {
	Settings Settings
	// Filter chooses the alerts that are written.
	Filter sink.Filter
}

// Validate returns everything that is wrong with an output.
func (s Spec) Validate() error {
	if s.Settings == nil {
		return errors.New("it has no settings; set those of a kind of sinks")
	}
	err := s.Settings.Validate()
	if wrong := s.Filter.Validate(); wrong != nil {
		err = errors.Join(err, &KeyError{"filter", fmt.Errorf("filter: %w", wrong)})
	}
	return err
}

// Place names an output of a configuration by its index, as a [KeyError] does.
func Place(i int) string { return fmt.Sprintf("outputs[%d]", i) }

// Validate returns everything that is wrong with the outputs of a configuration. The key of a
// [KeyError] is that of the output, or in it.
func Validate(specs []Spec) error {
	var errs []error
	taken := map[string]bool{}
	for i, s := range specs {
		if err := s.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", Place(i), err))
			continue
		}
		if exclusive, ok := s.Settings.(Exclusive); ok {
			key, value := exclusive.Exclusive()
			thing := key + " " + value
			if taken[thing] {
				errs = append(errs, &KeyError{Place(i), fmt.Errorf("%s: another output has the %s; choose another %s", Place(i), thing, key)})
			}
			taken[thing] = true
		}
	}
	return errors.Join(errs...)
}

// Outputs are the open sinks of a configuration. A sink with a method Close() error is
// closed with them; one with a method Reopen() error is reopened with them, because what it
// writes to may have been moved away.
type Outputs struct {
	list []sink.Output
}

// Open opens all outputs, or none.
func Open(specs []Spec, env Environment) (*Outputs, error) {
	o := &Outputs{}
	used := map[string]int{}
	for _, s := range specs {
		opened, err := s.Settings.Open(env)
		if err != nil {
			return nil, errors.Join(err, o.Close())
		}
		name := s.Settings.String()
		if used[name]++; used[name] > 1 {
			name = fmt.Sprintf("%s %d", name, used[name])
		}
		o.list = append(o.list, sink.Output{Name: name, Sink: opened, Filter: s.Filter})
	}
	return o, nil
}

// List returns the outputs for a [sink.Pipeline].
func (o *Outputs) List() []sink.Output { return o.list }

// Reopen opens again what may have been moved away. A sink that fails goes on as before.
func (o *Outputs) Reopen() error {
	var errs []error
	for _, out := range o.list {
		if s, ok := out.Sink.(interface{ Reopen() error }); ok {
			errs = append(errs, s.Reopen())
		}
	}
	return errors.Join(errs...)
}

// Close closes all outputs.
func (o *Outputs) Close() error {
	var errs []error
	for _, out := range o.list {
		if s, ok := out.Sink.(io.Closer); ok {
			if err := s.Close(); err != nil {
				errs = append(errs, fmt.Errorf("close the output %s: %w", out.Name, err))
			}
		}
	}
	return errors.Join(errs...)
}
