package ocihook

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ebpfguard/ebpfguard/cmd/ebpfguard/internal/change"
	"github.com/ebpfguard/ebpfguard/daemon/containers/oci"
)

// Command is a program and its arguments.
type Command []string

func (c Command) String() string { return strings.Join(c, " ") }

// Plan is a change that was not made yet.
type Plan struct {
	// About says whom it is about, Notes what to know besides, After what is so when it is made.
	About, After string
	Notes        []string
	// Commands are run after the files have changed.
	Commands []Command

	files []change.File
}

// Empty reports whether all is as planned already.
func (p *Plan) Empty() bool { return len(p.files) == 0 }

// put plans a file with this text.
func (p *Plan) put(m Machine, name, text string) error {
	f, err := change.Read(m.Root, name)
	if err != nil {
		return err
	}
	f.After, f.Remains = text, true
	p.add(f)
	return nil
}

func (p *Plan) putConfig(m Machine, config *object) error {
	text, err := indent(config)
	if err != nil {
		return err
	}
	return p.put(m, oci.DockerConfig, text)
}

// remove plans that a file is gone.
func (p *Plan) remove(m Machine, name string) error {
	f, err := change.Read(m.Root, name)
	if err == nil {
		p.add(f)
	}
	return err
}

func (p *Plan) add(f change.File) {
	if f.Changes() {
		p.files = append(p.files, f)
	}
}

// String shows the plan: what changes in which file, and which commands follow.
func (p *Plan) String() string {
	var b strings.Builder
	for _, f := range p.files {
		b.WriteString(f.Diff())
	}
	for i, c := range p.Commands {
		if i == 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "$ %s\n", c)
	}
	for _, note := range p.Notes {
		fmt.Fprintf(&b, "\nNote: %s.\n", note)
	}
	return b.String()
}

// Apply makes the change. When something fails, everything is as it was before.
func (m Machine) Apply(p *Plan, run func(Command) error) error {
	for i, f := range p.files {
		if err := f.Make(m.Root); err != nil {
			return errors.Join(err, change.Restore(m.Root, p.files[:i]))
		}
	}
	for _, c := range p.Commands {
		if err := run(c); err != nil {
			err = errors.Join(fmt.Errorf("%s failed: %w; the files are as before", c, err), change.Restore(m.Root, p.files))
			return errors.Join(err, run(c))
		}
	}
	return nil
}
