package boot

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Plan is a change that was not made yet.
type Plan struct {
	// Loader names the boot loader.
	Loader string
	// Done says why there is nothing to change. Then the plan has nothing else.
	Done string

	files    []file
	commands []Command
	// undo are the commands that take the commands back once the files are as before. Without them it is
	// the commands again, which read the files.
	undo []Command
	// verify looks at what the boot loader will do now, and says it.
	verify func() (string, error)
}

// file is a file of the system before and after a change.
type file struct {
	name             string
	before, after    string
	existed, remains bool
	mode             fs.FileMode
	// shown says that the text is another program's: it is shown and not written.
	shown bool
}

// change returns the change of a file to another text. It keeps the mode of a file that exists.
func (s System) change(name, after string, mode fs.FileMode) (file, error) {
	f := file{name: name, after: after, remains: true, mode: mode}
	info, err := os.Lstat(s.path(name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return f, nil
	case err != nil:
		return f, err
	case !info.Mode().IsRegular():
		return f, fmt.Errorf("%s is no regular file; change it by hand", name)
	}
	f.existed, f.mode = true, info.Mode().Perm()
	f.before, err = s.read(name)
	return f, err
}

// removal returns the change that removes a file.
func (s System) removal(name string) (file, error) {
	f, err := s.change(name, "", 0)
	f.remains = false
	return f, err
}

// add puts the changes of files that do change into the plan.
func (p *Plan) add(f file, err error) error {
	if err == nil && (f.existed != f.remains || f.before != f.after) {
		p.files = append(p.files, f)
	}
	return err
}

// String shows the plan: what changes in which file, and which commands follow.
func (p *Plan) String() string {
	var b strings.Builder
	for _, f := range p.files {
		b.WriteString(f.diff())
	}
	for i, c := range p.commands {
		if i == 0 && len(p.files) > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "$ %s\n", c)
	}
	return b.String()
}

// diff shows the lines that change; each change of this package is at one place of a file.
func (f file) diff() string {
	from, to := f.name, f.name
	if !f.existed {
		from = "/dev/null"
	}
	if !f.remains {
		to = "/dev/null"
	}
	before, after := lines(f.before), lines(f.after)
	begin := 0
	for begin < min(len(before), len(after)) && before[begin] == after[begin] {
		begin++
	}
	end := 0
	for end < min(len(before), len(after))-begin && before[len(before)-1-end] == after[len(after)-1-end] {
		end++
	}
	var b strings.Builder
	fmt.Fprintf(&b, "--- %s\n+++ %s\n", from, to)
	for _, line := range before[begin : len(before)-end] {
		b.WriteString("-" + line + "\n")
	}
	for _, line := range after[begin : len(after)-end] {
		b.WriteString("+" + line + "\n")
	}
	return b.String()
}

func lines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

// Apply makes the change and says what it did. When something fails, everything is as it was before.
func (s System) Apply(w io.Writer, p *Plan) error {
	for i, f := range p.files {
		if err := s.put(f.name, f.after, f.remains, f.mode, f.shown); err != nil {
			return errors.Join(err, s.restore(p.files[:i]))
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
	err := s.restore(p.files)
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

func (s System) restore(files []file) error {
	var err error
	for _, f := range files {
		if failed := s.put(f.name, f.before, f.existed, f.mode, f.shown); failed != nil {
			err = errors.Join(err, fmt.Errorf("taking it back: %w", failed))
		}
	}
	return err
}

// put makes a file have this text and mode, in one step, or removes it.
func (s System) put(name, text string, exists bool, mode fs.FileMode, shown bool) error {
	path := s.path(name)
	switch {
	case shown:
		return nil
	case !exists:
		return os.Remove(path)
	}
	// /etc/default/grub.d can be missing, and the guard's state, which others must not read.
	folder := fs.FileMode(0o755)
	if mode&0o077 == 0 {
		folder = 0o700
	}
	if err := os.MkdirAll(filepath.Dir(path), folder); err != nil {
		return err
	}
	// No boot loader reads such a name.
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = tmp.WriteString(text)
	if err = errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
