package boot

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/ebpfguard/ebpfguard/cmd/ebpfguard/internal/change"
)

// Plan is a change that was not made yet.
type Plan struct {
	// Loader names the boot loader.
	Loader string
	// Done says why there is nothing to change. Then the plan has nothing else.
	Done string

	files    []change.File
	commands []Command
	// undo are the commands that take the commands back once the files are as before. Without them it is
	// the commands again, which read the files.
	undo []Command
	// verify looks at what the boot loader will do now, and says it.
	verify func() (string, error)
}

// change returns the change of a file to another text. It keeps the mode of a file that exists.
func (s System) change(name, after string, mode fs.FileMode) (change.File, error) {
	f, err := change.Read(s.Root, name)
	f.After, f.Remains = after, true
	if !f.Existed {
		f.Mode = mode
	}
	return f, err
}

// removal returns the change that removes a file.
func (s System) removal(name string) (change.File, error) { return change.Read(s.Root, name) }

// add puts the changes of files that do change into the plan.
func (p *Plan) add(f change.File, err error) error {
	if err == nil && f.Changes() {
		p.files = append(p.files, f)
	}
	return err
}

// String shows the plan: what changes in which file, and which commands follow.
func (p *Plan) String() string {
	var b strings.Builder
	for _, f := range p.files {
		b.WriteString(f.Diff())
	}
	for i, c := range p.commands {
		if i == 0 && len(p.files) > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "$ %s\n", c)
	}
	return b.String()
}

// Apply makes the change and says what it did. When something fails, everything is as it was before.
func (s System) Apply(w io.Writer, p *Plan) error {
	for i, f := range p.files {
		if err := f.Make(s.Root); err != nil {
			return errors.Join(err, change.Restore(s.Root, p.files[:i]))
		}
	}
	for _, c := range p.commands {
		if _, err := s.Run(c); err != nil {
			return errors.Join(fmt.Errorf("%s failed: %w; the files are as before", c, err), s.takeBack(p))
		}
	}
	if p.verify == nil {
		return nil
	}
	found, err := p.verify()
	if err != nil {
		return errors.Join(fmt.Errorf("%w; the files are as before", err), s.takeBack(p))
	}
	_, err = fmt.Fprintln(w, found)
	return err
}

func (s System) takeBack(p *Plan) error {
	err := change.Restore(s.Root, p.files)
	commands := p.undo
	if commands == nil {
		commands = p.commands
	}
	for _, c := range commands {
		if _, failed := s.Run(c); failed != nil {
			err = errors.Join(err, fmt.Errorf("taking it back: %s failed: %w; find the cause and run it again", c, failed))
		}
	}
	return err
}
