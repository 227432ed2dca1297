package file

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/ebpfguard/ebpfguard/sink"
	"github.com/ebpfguard/ebpfguard/sink/setup"
)

// Kind is the kind of this sink.
var Kind = setup.Kind{
	Name:  "file",
	Usage: "lines in a file, which can be rotated",
	New:   func() setup.Settings { return &Settings{Format: sink.FormatJSON} },
}

// Settings are what a configuration says about the sink.
type Settings struct {
	Path string
	// Format is JSON if empty.
	Format sink.Format
	// MaxBytes and Keep are those of [Options].
	MaxBytes setup.Size
	Keep     uint
}

// Keys implements [setup.Settings].
func (s *Settings) Keys() []setup.Key {
	return []setup.Key{
		{Name: "path", Usage: "the file, with its whole path; its folder must exist", Value: setup.Text(&s.Path)},
		{Name: "format", Usage: "the form of the lines", Value: setup.Format(&s.Format)},
		{Name: "max_bytes", Usage: "rotate the file before it is bigger than this; 0: never", Value: &s.MaxBytes},
		{Name: "keep", Usage: "how many rotated files to keep: FILE.1 is the newest", Value: setup.Number(&s.Keep)},
	}
}

// Validate implements [setup.Settings].
func (s *Settings) Validate() error {
	err := s.Format.Validate()
	switch {
	case s.Path == "":
		err = errors.Join(err, &setup.KeyError{Key: "path", Err: errors.New("an output of type file needs a path; write for example path: /var/log/ebpfguard/alerts.json")})
	case !filepath.IsAbs(s.Path):
		err = errors.Join(err, &setup.KeyError{Key: "path", Err: fmt.Errorf("path %q is not absolute; write the whole path", s.Path)})
	}
	return err
}

// Exclusive implements [setup.Exclusive]: two outputs would rotate each other's file.
func (s *Settings) Exclusive() (key, value string) { return "path", filepath.Clean(s.Path) }

// Open implements [setup.Settings].
func (s *Settings) Open(setup.Environment) (sink.Sink, error) {
	w, err := Open(s.Path, Options{MaxBytes: int64(s.MaxBytes), Keep: int(s.Keep)})
	if err != nil {
		return nil, err
	}
	return &lines{sink.Lines(w, s.Format), w}, nil
}

// String implements [setup.Settings].
func (s *Settings) String() string { return Kind.Name + " " + s.Path }

// lines is a sink that closes and reopens its file.
type lines struct {
	sink.Sink
	file *Writer
}

func (l *lines) Reopen() error { return l.file.Reopen() }

func (l *lines) Close() error { return l.file.Close() }
