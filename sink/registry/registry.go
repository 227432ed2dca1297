//go:generate go test -run ^TestDocs$ -update .

// Package registry lists the kinds of sinks that a configuration can ask for.
package registry

import (
	"github.com/ebpfguard/ebpfguard/sink/file"
	"github.com/ebpfguard/ebpfguard/sink/journald"
	"github.com/ebpfguard/ebpfguard/sink/setup"
	"github.com/ebpfguard/ebpfguard/sink/stdout"
)

// Kinds are all kinds of sinks, in the order in which help texts list them.
var Kinds = []setup.Kind{
	stdout.Kind,
	file.Kind,
	journald.Kind,
}
