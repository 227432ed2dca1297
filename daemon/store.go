package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ebpfguard/ebpfguard/internal/regular"
	"github.com/ebpfguard/ebpfguard/policy"
)

// The files of the state directory.
const (
	appliedFile  = "applied.yaml"
	lastGoodFile = "last-good.yaml"
)

// maxState bounds a file of the state directory in bytes.
const maxState = 256 << 20

// store keeps policy sets in a directory; the empty one keeps nothing.
type store string

// prepare makes the directory, and checks that it can be written.
func (s store) prepare() error {
	if s == "" {
		return nil
	}
	if err := os.MkdirAll(string(s), 0o700); err != nil {
		return fmt.Errorf("state: %w; choose a directory that can be written", err)
	}
	probe, err := os.CreateTemp(string(s), ".probe.*")
	if err != nil {
		return fmt.Errorf("state: %w; choose a directory that can be written", err)
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// read returns a set; the empty one if there is no file.
func (s store) read(name string) ([]policy.Policy, error) {
	if s == "" {
		return nil, nil
	}
	path := filepath.Join(string(s), name)
	data, err := regular.ReadFile(path, maxState)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	set, err := policy.Parse(path, data)
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	return set, nil
}

// setAside renames the file of a set and returns its new name; an earlier one of that name is gone.
func (s store) setAside(name string) (string, error) {
	path := filepath.Join(string(s), name)
	kept := path + ".broken"
	if err := os.Rename(path, kept); err != nil {
		return "", fmt.Errorf("state: %w", err)
	}
	return kept, syncDirectory(string(s))
}

// write replaces a set, so that after a crash or a loss of power the old one or the
// new one is there. There is no file for the empty set.
func (s store) write(name string, set []policy.Policy) error {
	if s == "" {
		return nil
	}
	path := filepath.Join(string(s), name)
	if len(set) == 0 {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("state: %w", err)
		}
		return syncDirectory(string(s))
	}
	data, err := policy.Marshal(set)
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	if err := replaceFile(path, 0o600, data); err != nil {
		return fmt.Errorf("state: %w; make room or choose another directory", err)
	}
	return nil
}

// replaceFile makes a file appear, or change, whole.
func replaceFile(path string, mode os.FileMode, data []byte) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp.Name()))
		}
	}()
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(path))
}

func syncDirectory(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
