package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// The priorities of syslog(3), by which the journal knows how much a message matters
// (sd-daemon(3)).
const (
	priorityError   = 3
	priorityWarning = 4
	priorityInfo    = 6
	priorityDebug   = 7
)

// writesToJournal reports whether systemd connected a stream with the journal
// (systemd.exec(5), JOURNAL_STREAM).
func writesToJournal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	var stat unix.Stat_t
	return unix.Fstat(int(file.Fd()), &stat) == nil && os.Getenv("JOURNAL_STREAM") == fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
}

// journalHandler begins each line with its priority.
type journalHandler struct {
	slog.Handler
	to *journalWriter
}

// newJournalHandler returns a handler of messages for the journal; make returns the handler that
// formats them.
func newJournalHandler(w io.Writer, make func(io.Writer) slog.Handler) slog.Handler {
	to := &journalWriter{to: w}
	return journalHandler{make(to), to}
}

// Handle implements [slog.Handler].
func (h journalHandler) Handle(ctx context.Context, r slog.Record) error {
	h.to.mu.Lock()
	defer h.to.mu.Unlock()
	h.to.priority = priorityOf(r.Level)
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements [slog.Handler].
func (h journalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return journalHandler{h.Handler.WithAttrs(attrs), h.to}
}

// WithGroup implements [slog.Handler].
func (h journalHandler) WithGroup(name string) slog.Handler {
	return journalHandler{h.Handler.WithGroup(name), h.to}
}

func priorityOf(level slog.Level) int {
	switch {
	case level >= slog.LevelError:
		return priorityError
	case level >= slog.LevelWarn:
		return priorityWarning
	case level >= slog.LevelInfo:
		return priorityInfo
	}
	return priorityDebug
}

// journalWriter writes messages of one priority at a time.
type journalWriter struct {
	mu       sync.Mutex
	to       io.Writer
	priority int
}

// Write implements [io.Writer].
func (w *journalWriter) Write(message []byte) (int, error) {
	if _, err := io.WriteString(w.to, withPriority(w.priority, string(message))); err != nil {
		return 0, err
	}
	return len(message), nil
}

// withPriority begins each line of a text with a priority.
func withPriority(priority int, text string) string {
	prefix := fmt.Sprintf("<%d>", priority)
	text, end := strings.TrimSuffix(text, "\n"), strings.HasSuffix(text, "\n")
	text = prefix + strings.ReplaceAll(text, "\n", "\n"+prefix)
	if end {
		text += "\n"
	}
	return text
}
