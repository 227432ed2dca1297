package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestJournal(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(newJournalHandler(&b, func(w io.Writer) slog.Handler {
		return slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}})
	})).With("a", 1)
	log.Error("e")
	log.Warn("w")
	log.Info("i")
	log.Debug("d")
	want := "<3>level=ERROR msg=e a=1\n<4>level=WARN msg=w a=1\n<6>level=INFO msg=i a=1\n<7>level=DEBUG msg=d a=1\n"
	if b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
	if got := withPriority(3, "a\nb\n"); got != "<3>a\n<3>b\n" {
		t.Errorf("lines are %q", got)
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "journal"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if writesToJournal(file) || writesToJournal(&b) {
		t.Error("a file is the journal")
	}
	var stat unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &stat); err != nil {
		t.Fatal(err)
	}
	t.Setenv("JOURNAL_STREAM", fmt.Sprintf("%d:%d", stat.Dev, stat.Ino))
	if !writesToJournal(file) || writesToJournal(&b) {
		t.Error("the journal is none")
	}
	// What ends the command has the priority of an error, and a code of its own if it is the configuration.
	if code := run([]string{"daemon", "--config", "/no/such/file"}, io.Discard, file); code != exitConfig {
		t.Errorf("exit code %d", code)
	}
	data, err := os.ReadFile(file.Name())
	if err != nil || !bytes.HasPrefix(data, []byte("<3>ebpfguard: daemon: the configuration cannot be used:\n<3>")) {
		t.Errorf("%v, %q", err, data)
	}
}
