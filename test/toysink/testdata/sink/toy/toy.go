// Package toy is a sink that writes each alert to a file of its own.
package toy

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/sink"
	"github.com/ebpfguard/ebpfguard/sink/setup"
)

// Kind is the kind of this sink.
var Kind = setup.Kind{Name: "toy", Usage: "a file for each alert", New: func() setup.Settings { return &Settings{} }}

// Settings are what a configuration says about the sink.
type Settings struct{ Folder string }

// Keys implements [setup.Settings].
func (s *Settings) Keys() []setup.Key {
	return []setup.Key{{Name: "folder", Usage: "the folder of the files", Value: setup.Text(&s.Folder)}}
}

// Validate implements [setup.Settings].
func (s *Settings) Validate() error {
	if !filepath.IsAbs(s.Folder) {
		return &setup.KeyError{Key: "folder", Err: fmt.Errorf("folder %q is not absolute; write the whole path", s.Folder)}
	}
	return nil
}

// Open implements [setup.Settings].
func (s *Settings) Open(setup.Environment) (sink.Sink, error) { return s, nil }

// String implements [setup.Settings].
func (s *Settings) String() string { return Kind.Name + " " + s.Folder }

// Write implements [sink.Sink].
func (s *Settings) Write(_ context.Context, alert ebpfguard.Alert) error {
	name := fmt.Sprintf("alert-%d", alert.Context().Sequence)
	return os.WriteFile(filepath.Join(s.Folder, name), []byte(alert.String()), 0o600)
}
