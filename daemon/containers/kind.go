package containers

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/ebpfguard/ebpfguard/internal/strictyaml"
)

// Kind is a kind of sources.
type Kind struct {
	// Name is the type of a source in a configuration.
	Name string
	// Usage says in one line of which containers it tells.
	Usage string
	// Key is what its place is called in a configuration: socket or directory.
	Key string
	// Places are where that usually is; the first one counts that exists.
	Places []string
	// New returns a source. It must not fail because the runtime does not run.
	New func(place string, log *slog.Logger) Source
}

// Spec is a source of a configuration.
type Spec struct {
	// Type is the name of a [Kind].
	Type string
	// Place is the socket or directory; the kind's first if empty.
	Place string
}

// Find returns the kind with a name.
func Find(kinds []Kind, name string) (Kind, error) {
	var names []string
	for _, k := range kinds {
		if k.Name == name {
			return k, nil
		}
		names = append(names, k.Name)
	}
	return Kind{}, fmt.Errorf("unknown source of containers %q; %s", name, strictyaml.Suggest(name, names))
}

// Check returns what is wrong with a source of a configuration.
func (s Spec) Check(kinds []Kind) error {
	kind, err := Find(kinds, s.Type)
	if err != nil {
		return err
	}
	if s.Place != "" && !filepath.IsAbs(s.Place) {
		return fmt.Errorf("%s %q is not absolute; write the whole path", kind.Key, s.Place)
	}
	return nil
}

// Help returns the kinds and their keys for the help text of a command.
func Help(kinds []Kind) string {
	var b strings.Builder
	b.WriteString("A source of containers has a type and a place:\n")
	for _, k := range kinds {
		fmt.Fprintf(&b, "\n  %-14s  %s\n    %-12s  default %s\n", k.Name, k.Usage, k.Key, strings.Join(k.Places, " or "))
	}
	return b.String()
}
