// Package stdout is the sink that writes alerts to the standard output.
package stdout

import (
	"github.com/ebpfguard/ebpfguard/sink"
	"github.com/ebpfguard/ebpfguard/sink/setup"
)

// Kind is the kind of this sink.
var Kind = setup.Kind{
	Name:  "stdout",
	Usage: "lines on the standard output",
	New:   func() setup.Settings { return &Settings{Format: sink.FormatJSON} },
}

// Settings are what a configuration says about the sink.
type Settings struct {
	// Format is JSON if empty.
	Format sink.Format
}

// Keys implements [setup.Settings].
func (s *Settings) Keys() []setup.Key {
	return []setup.Key{{Name: "format", Usage: "the form of the lines", Value: setup.Format(&s.Format)}}
}

// Validate implements [setup.Settings].
func (s *Settings) Validate() error { return s.Format.Validate() }

// Open implements [setup.Settings].
func (s *Settings) Open(env setup.Environment) (sink.Sink, error) {
	return sink.Lines(env.Stdout, s.Format), nil
}

// String implements [setup.Settings].
func (*Settings) String() string { return Kind.Name }
