// Package regular opens files that others may have put in place: it waits for nobody, as opening a
// named pipe does, and takes nothing but regular files.
package regular

import (
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Open opens a regular file for reading, links followed. Anything else is an error that says what it
// is: a named pipe, a device, a socket or a directory.
func Open(path string) (*os.File, error) {
	file, err := OpenBy(func(path string, flags int) (*os.File, error) { return os.OpenFile(path, flags, 0) }, path)
	if err != nil {
		// A socket cannot be opened at all, and the system's word for that says little.
		if info, statErr := os.Stat(path); statErr == nil && !info.Mode().IsRegular() {
			return nil, refuse(path, info.Mode())
		}
	}
	return file, err
}

// OpenBy is [Open] with another function that opens, by flags of open(2).
func OpenBy(open func(path string, flags int) (*os.File, error), path string) (*os.File, error) {
	file, err := open(path, os.O_RDONLY|dontWait)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = refuse(path, info.Mode())
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

// ReadFile reads a regular file of at most so many bytes.
func ReadFile(path string, most int64) ([]byte, error) {
	file, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s has more than %d bytes", path, most)
	}
	return data, err
}

func refuse(path string, mode fs.FileMode) error {
	return &fs.PathError{Op: "open", Path: path, Err: fmt.Errorf("it is %s, not a regular file", kind(mode))}
}

func kind(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a directory"
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeDevice != 0:
		return "a device"
	}
	return "something else"
}
