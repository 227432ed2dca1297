package file

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// contents returns the files of the folder, which all must be of mode 0600.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = string(data)
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v", e.Name(), info.Mode(), err)
		}
	}
	return files
}

func open(t *testing.T, path string, options Options) *Writer {
	t.Helper()
	f, err := Open(path, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func put(t *testing.T, f *Writer, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if n, err := f.Write([]byte(line)); err != nil || n != len(line) {
			t.Fatalf("wrote %d bytes: %v", n, err)
		}
	}
}

func TestRotates(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	f := open(t, path, Options{MaxBytes: 8, Keep: 2})
	put(t, f, "one\n", "two\n", "three\n", "a line that is longer\n", "4\n", "5\n", "6\n", "7\n", "8\n")
	want := map[string]string{"log": "8\n", "log.1": "4\n5\n6\n7\n", "log.2": "a line that is longer\n"}
	if got := contents(t, dir); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("files %q, want %q", got, want)
	}
	f.Close()
	// What is there counts, and fewer may be kept than before.
	f = open(t, path, Options{MaxBytes: 4, Keep: 1})
	put(t, f, "9\n", "0\n")
	want = map[string]string{"log": "0\n", "log.1": "8\n9\n"}
	if got := contents(t, dir); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("files %q, want %q", got, want)
	}
	f.Close()
	f = open(t, path, Options{MaxBytes: 3})
	put(t, f, "1\n", "2\n")
	if got := contents(t, dir); got["log"] != "2\n" || len(got) > 1 {
		t.Errorf("files %q with none kept", got)
	}
}

func TestReopen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	f := open(t, path, Options{})
	put(t, f, "one\n")
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	put(t, f, "two\n")
	if err := f.Reopen(); err != nil {
		t.Fatal(err)
	}
	put(t, f, "three\n")
	if got := contents(t, dir); got["log"] != "three\n" || got["log.old"] != "one\ntwo\n" {
		t.Errorf("files %q", got)
	}
	f.Close()
	if _, err := f.Write([]byte("x")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("written after closing: %v", err)
	}
	if err := f.Reopen(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("opened after closing: %v", err)
	}
}

// TestReopenWhileWriting expects that no line is lost.
func TestReopenWhileWriting(t *testing.T) {
	dir := t.TempDir()
	f := open(t, filepath.Join(dir, "log"), Options{MaxBytes: 1000, Keep: 1000})
	var wait sync.WaitGroup
	stop := make(chan struct{})
	wait.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if err := f.Reopen(); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	const lines = 5000
	for i := range lines {
		put(t, f, fmt.Sprintf("line %d\n", i))
	}
	close(stop)
	wait.Wait()
	got := 0
	for name, content := range contents(t, dir) {
		if len(content) > 1000 {
			t.Errorf("%s has %d bytes", name, len(content))
		}
		got += strings.Count(content, "\n")
	}
	if got != lines {
		t.Errorf("%d of %d lines", got, lines)
	}
}

// TestCannotRotate expects that it takes no more than was said, and goes on
// when it can again.
func TestCannotRotate(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	f := open(t, path, Options{MaxBytes: 4, Keep: 1})
	put(t, f, "one\n")
	if err := os.MkdirAll(filepath.Join(path+".1", "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := f.Write([]byte("two\n")); err == nil || !strings.Contains(err.Error(), "rotate") {
			t.Errorf("error %v", err)
		}
	}
	if err := os.RemoveAll(path + ".1"); err != nil {
		t.Fatal(err)
	}
	put(t, f, "two\n")
	if got := contents(t, dir); got["log"] != "two\n" || got["log.1"] != "one\n" {
		t.Errorf("files %q", got)
	}
}

func TestErrors(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "no", "log"), Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	if _, err := Open(filepath.Join(t.TempDir(), "log"), Options{MaxBytes: -1}); err == nil {
		t.Error("a negative size is taken")
	}
	// What is no regular file is never rotated.
	f := open(t, "/dev/null", Options{MaxBytes: 1, Keep: 1})
	put(t, f, "one\n", "two\n")
}
