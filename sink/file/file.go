// Package file is the sink that appends alerts to a file, which it rotates.
package file

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
)

// Options are the options of a [Writer].
type Options struct {
	// MaxBytes is the size beyond which the file is rotated; 0: never. A single
	// line may be longer.
	MaxBytes int64
	// Keep is how many rotated files are kept beside it: FILE.1 is the newest.
	Keep int
}

// Writer is a file of lines that bounds its size by rotating: FILE becomes FILE.1,
// that FILE.2, and so on. Every file that it makes may only be read by its owner;
// one that exists keeps its mode. When it cannot rotate it takes no more lines,
// rather than to fill the disk. Only one process may rotate a file.
//
// Its methods may be called concurrently, and neither Reopen nor Close waits for
// a Write that hangs.
type Writer struct {
	path    string
	options Options

	writing sync.Mutex // held while a line is written
	mu      sync.Mutex // for what follows
	file    *os.File
	size    int64
	regular bool
	closed  bool
}

// Open appends to the file, which need not exist.
func Open(path string, options Options) (*Writer, error) {
	if options.MaxBytes < 0 || options.Keep < 0 {
		return nil, fmt.Errorf("open the file of alerts %s: neither its size nor the number of rotated files can be negative", path)
	}
	f := &Writer{path: path, options: options}
	if err := f.Reopen(); err != nil {
		return nil, err
	}
	return f, nil
}

// Reopen opens the file again, which may have been moved away. If that fails, alerts
// still go to the old one.
func (f *Writer) Reopen() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return fmt.Errorf("open the file of alerts %s: %w", f.path, os.ErrClosed)
	}
	return f.open()
}

func (f *Writer) open() error {
	file, err := os.OpenFile(f.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the file of alerts: %w; choose a folder that exists and is writable", err)
	}
	info, err := file.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("open the file of alerts: %w", err), file.Close())
	}
	if f.file != nil {
		_ = f.file.Close() // every line was written with its own call
	}
	f.file, f.size, f.regular = file, info.Size(), info.Mode().IsRegular()
	return nil
}

// Write writes one line, after rotating if it does not fit.
func (f *Writer) Write(line []byte) (int, error) {
	f.writing.Lock()
	defer f.writing.Unlock()
	for {
		file, err := f.prepare(int64(len(line)))
		if err != nil {
			return 0, err
		}
		n, err := file.Write(line)
		f.mu.Lock()
		current := f.file == file
		switch {
		case current:
			f.size += int64(n)
		case !f.closed: // Reopen may have looked at the size before the line was there
			if info, statErr := f.file.Stat(); statErr == nil {
				f.size = info.Size()
			}
		}
		again := !current && !f.closed && n == 0 && errors.Is(err, os.ErrClosed)
		f.mu.Unlock()
		if !again { // else it was reopened meanwhile
			return n, err
		}
	}
}

// prepare returns the file with room for n bytes.
func (f *Writer) prepare(n int64) (*os.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch full := f.regular && f.options.MaxBytes > 0 && f.size > 0 && f.size+n > f.options.MaxBytes; {
	case f.closed:
		return nil, fmt.Errorf("write the file of alerts %s: %w", f.path, os.ErrClosed)
	case full:
		if err := f.rotate(); err != nil {
			return nil, fmt.Errorf("rotate the file of alerts: %w; make its folder writable", err)
		}
		if err := f.open(); err != nil {
			return nil, err
		}
	}
	return f.file, nil
}

// rotate renames from the oldest on, so that whatever interrupts it loses none
// that was to be kept.
func (f *Writer) rotate() error {
	if _, err := os.Lstat(f.path); errors.Is(err, fs.ErrNotExist) {
		return nil // moved away, or opening the next one failed before
	}
	for i := f.options.Keep; ; i++ { // more than one if fewer are kept than before
		err := os.Remove(f.numbered(i))
		if errors.Is(err, fs.ErrNotExist) && i > f.options.Keep {
			break
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for i := f.options.Keep; i > 0; i-- {
		if err := os.Rename(f.numbered(i-1), f.numbered(i)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// numbered returns the path of a rotated file; 0 is the file itself.
func (f *Writer) numbered(i int) string {
	if i == 0 {
		return f.path
	}
	return fmt.Sprintf("%s.%d", f.path, i)
}

// Close closes the file.
func (f *Writer) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	f.closed = true
	return f.file.Close()
}
