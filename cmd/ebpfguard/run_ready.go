package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ebpfguard/ebpfguard/policy"
)

// readyFile is the path of the file that exists while every policy is in
// force. An empty one stands for no file.
type readyFile string

// ready is what the file holds.
type ready struct {
	PID      int      `json:"pid"`
	Revision uint32   `json:"revision"`
	Policies []string `json:"policies"`
}

// check reports whether the file can be written, which is better known before
// anything is enforced.
func (f readyFile) check() error {
	if f == "" {
		return nil
	}
	tmp, err := f.temporary()
	if err != nil {
		return err
	}
	return errors.Join(tmp.Close(), os.Remove(tmp.Name()))
}

// temporary makes a file in the same folder.
func (f readyFile) temporary() (*os.File, error) {
	tmp, err := os.CreateTemp(filepath.Dir(string(f)), "."+filepath.Base(string(f))+".*")
	if err != nil {
		return nil, fmt.Errorf("write the ready file: %w; choose a folder that exists and is writable", err)
	}
	return tmp, nil
}

// write makes the file appear, or change, whole.
func (f readyFile) write(revision uint32, set []policy.Policy) (err error) {
	if f == "" {
		return nil
	}
	content := ready{PID: os.Getpid(), Revision: revision, Policies: []string{}}
	for _, p := range set {
		content.Policies = append(content.Policies, p.Name)
	}
	line, err := json.Marshal(content)
	if err != nil {
		return err
	}
	tmp, err := f.temporary()
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(tmp.Name())
			err = fmt.Errorf("write the ready file: %w", err)
		}
	}()
	_, err = tmp.Write(append(line, '\n'))
	if err = errors.Join(err, tmp.Chmod(0o644), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), string(f))
}

// remove removes the file if it is there.
func (f readyFile) remove() error {
	if f == "" {
		return nil
	}
	if err := os.Remove(string(f)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the ready file: %w; remove it by hand, because it says that policies are in force", err)
	}
	return nil
}
