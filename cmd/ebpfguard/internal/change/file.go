// Package change shows, makes and takes back changes of files that belong to other programs.
package change

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// File is a file of the system before and after a change.
type File struct {
	// Name is its path in the system.
	Name string
	// Before and After are its texts; Existed and Remains tell whether it is there.
	Before, After    string
	Existed, Remains bool
	Mode             fs.FileMode
	// Shown says that the text is another program's: it is shown and not written.
	Shown bool
}

// Read returns a file as it is below a root directory, planned to be removed.
func Read(root, name string) (File, error) {
	f := File{Name: name, Mode: 0o644}
	info, err := os.Lstat(filepath.Join(root, name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return f, nil
	case err != nil:
		return f, err
	case !info.Mode().IsRegular():
		return f, fmt.Errorf("%s is no regular file; change it by hand", name)
	}
	f.Existed, f.Mode = true, info.Mode().Perm()
	data, err := os.ReadFile(filepath.Join(root, name))
	f.Before = string(data)
	return f, err
}

// Changes reports whether the file is another one after the change.
func (f File) Changes() bool { return f.Existed != f.Remains || f.Before != f.After }

// Diff shows the lines from the first to the last that change.
func (f File) Diff() string {
	from, to := f.Name, f.Name
	if !f.Existed {
		from = "/dev/null"
	}
	if !f.Remains {
		to = "/dev/null"
	}
	before, after := Lines(f.Before), Lines(f.After)
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

// Lines returns the lines of a text.
func Lines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

// Make makes the change below a root directory.
func (f File) Make(root string) error { return f.put(root, f.After, f.Remains) }

// Restore makes the file as it was before, after Make.
func Restore(root string, files []File) error {
	var err error
	for _, f := range files {
		if failed := f.put(root, f.Before, f.Existed); failed != nil {
			err = errors.Join(err, fmt.Errorf("taking it back: %w", failed))
		}
	}
	return err
}

// put makes the file have this text, in one step, or removes it.
func (f File) put(root, text string, exists bool) error {
	path := filepath.Join(root, f.Name)
	switch {
	case f.Shown:
		return nil
	case !exists:
		return os.Remove(path)
	}
	// The directory can be missing, and the guard's state, which others must not read.
	folder := fs.FileMode(0o755)
	if f.Mode&0o077 == 0 {
		folder = 0o700
	}
	if err := os.MkdirAll(filepath.Dir(path), folder); err != nil {
		return err
	}
	// No program that reads a directory of files reads such a name.
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = tmp.WriteString(text)
	if err = errors.Join(err, tmp.Chmod(f.Mode), tmp.Sync(), tmp.Close()); err == nil {
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
