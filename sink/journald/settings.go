package journald

import (
	"github.com/ebpfguard/ebpfguard/sink"
	"github.com/ebpfguard/ebpfguard/sink/setup"
)

// Kind is the kind of this sink.
var Kind = setup.Kind{
	Name:  "journald",
	Usage: "fields in systemd's journal (journalctl -t ebpfguard)",
	New:   func() setup.Settings { return &Settings{} },
}

// Settings are what a configuration says about the sink: nothing yet.
type Settings struct{}

// Keys implements [setup.Settings].
func (*Settings) Keys() []setup.Key { return nil }

// Validate implements [setup.Settings].
func (*Settings) Validate() error { return nil }

// Open implements [setup.Settings].
func (*Settings) Open(setup.Environment) (sink.Sink, error) {
	s, err := New("")
	if err != nil {
		return nil, err
	}
	return s, nil
}

// String implements [setup.Settings].
func (*Settings) String() string { return Kind.Name }
