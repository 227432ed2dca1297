package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"github.com/ebpfguard/ebpfguard"
)

// alertWriter writes alerts to the standard output and to a file. An output
// that fails is reported once and tried again with the next alert: enforcement
// does not depend on it.
type alertWriter struct {
	log    *slog.Logger
	format output
	stdout sink
	// taken counts the alerts that came, dropped those of them that were lost
	// on the way or that an output missed.
	taken, dropped atomic.Uint64

	// mu is not held while the standard output is written, which may block for
	// as long as its reader likes.
	mu     sync.Mutex
	file   sink
	closer io.Closer
}

// sink is one output.
type sink struct {
	name   string
	w      io.Writer
	failed bool
}

func newAlertWriter(log *slog.Logger, stdout io.Writer, format output) *alertWriter {
	return &alertWriter{log: log, format: format, stdout: sink{name: "the standard output", w: stdout}}
}

// openFile appends to the file from now on, also when it is open already: it
// may have been moved away. Only its owner may read it.
func (a *alertWriter) openFile(path string) error {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the file of alerts: %w; choose a folder that exists and is writable", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closer != nil {
		_ = a.closer.Close() // every line was written with its own call
	}
	a.file, a.closer = sink{name: path, w: file}, file
	return nil
}

func (a *alertWriter) closeFile() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closer == nil {
		return nil
	}
	err := a.closer.Close()
	a.file, a.closer = sink{}, nil
	return err
}

// write writes alerts until they end.
func (a *alertWriter) write(ctx context.Context, alerts iter.Seq2[ebpfguard.Alert, error]) {
	for alert, err := range alerts {
		var lost *ebpfguard.LostAlertsError
		switch {
		case errors.As(err, &lost):
			a.log.Warn("alerts were lost; what they were about was judged all the same", "count", lost.Count)
			a.dropped.Add(lost.Count)
			a.taken.Add(lost.Count)
		case err != nil:
			a.log.Error("reading alerts", "error", err)
		default:
			a.one(alert)
			a.taken.Add(1)
		}
	}
	if ctx.Err() == nil {
		a.log.Error("there are no more alerts; the policies stay in force")
	}
}

func (a *alertWriter) one(alert ebpfguard.Alert) {
	line, err := alertLine(alert)
	if err != nil {
		a.log.Error("an alert cannot be written as JSON", "error", err, "alert", alert.String())
		a.dropped.Add(1)
		return
	}
	ok := a.toFile(line)
	if a.format == outputText {
		line = []byte(alert.String() + "\n")
	}
	if !a.stdout.write(a.log, line) || !ok {
		a.dropped.Add(1)
	}
}

func (a *alertWriter) toFile(line []byte) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.file.w == nil || a.file.write(a.log, line)
}

// write writes one line with one call, so that lines stay whole.
func (s *sink) write(log *slog.Logger, line []byte) bool {
	_, err := s.w.Write(line)
	switch {
	case err != nil && !s.failed:
		log.Error("alerts cannot be written; the policies stay in force", "output", s.name, "error", err)
	case err == nil && s.failed:
		log.Info("alerts can be written again", "output", s.name)
	}
	s.failed = err != nil
	return err == nil
}

// alertLine returns the alert as one line of JSON. It leaves <, > and & as they
// are.
func alertLine(alert ebpfguard.Alert) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(alert); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
