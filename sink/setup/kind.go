// Package setup makes sinks of what a configuration says about them.
//
// A kind of sinks brings its [Settings] along: their keys, what is wrong with them, and how
// to open the sink. A program that reads a configuration finds the kinds in package
// registry, and knows no sink by itself.
package setup

import (
	"io"

	"github.com/ebpfguard/ebpfguard/sink"
)

// Kind is a kind of sinks.
type Kind struct {
	// Name is the type of an output in a configuration.
	Name string
	// Usage says in one line where alerts go.
	Usage string
	// New returns settings that hold the defaults.
	New func() Settings
}

// Settings are what a configuration says about one sink.
type Settings interface {
	// Keys are the keys of the configuration, which set the settings.
	Keys() []Key
	// Validate returns everything that is wrong. A [KeyError] among it is shown where
	// its key is.
	Validate() error
	// Open opens the sink. It may have more methods, see [Outputs].
	Open(Environment) (sink.Sink, error)
	// String names the sink in counters and messages.
	String() string
}

// Exclusive are settings with a key that no two outputs may have in common.
type Exclusive interface {
	// Exclusive returns the key, and its value in a form that can be compared.
	Exclusive() (key, value string)
}

// Key is a key of the configuration.
type Key struct {
	Name string
	// Usage says in one line what it is for.
	Usage string
	Value Value
}

// KeyError is what is wrong with the value of a key.
type KeyError struct {
	Key string
	Err error
}

func (e *KeyError) Error() string { return e.Err.Error() }

func (e *KeyError) Unwrap() error { return e.Err }

// Environment is what a sink gets from the program that opens it.
type Environment struct {
	Stdout io.Writer
}
