package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/ebpfguard/ebpfguard/sink"
	"github.com/ebpfguard/ebpfguard/sink/file"
)

// alertQueue is how many alerts wait for an output.
const alertQueue = 1 << 14

// alertWriter writes alerts to the standard output and to a file.
type alertWriter struct {
	*sink.Pipeline
	log  *slog.Logger
	file *file.Writer // nil if none is wanted
}

// newAlertWriter opens the file, unless its path is empty.
func newAlertWriter(log *slog.Logger, stdout io.Writer, format output, path string) (*alertWriter, error) {
	a := &alertWriter{log: log}
	out := sink.Output{Name: "the standard output", Sink: sink.Text(stdout), Queue: alertQueue}
	if format == outputJSON {
		out.Sink = sink.JSON(stdout)
	}
	outputs := []sink.Output{out}
	if path != "" {
		f, err := file.Open(path, file.Options{})
		if err != nil {
			return nil, err
		}
		a.file = f
		outputs = append(outputs, sink.Output{Name: "the file " + path, Sink: sink.JSON(f), Queue: alertQueue})
	}
	var err error
	// Who watches sees each one.
	a.Pipeline, err = sink.NewPipeline(sink.Options{Window: -1, Drain: drainTime, Log: log}, outputs...)
	return a, err
}

// reopen opens the file anew.
func (a *alertWriter) reopen() {
	if a.file == nil {
		return
	}
	if err := a.file.Reopen(); err != nil {
		a.log.Error("alerts go on to the former file", "error", err)
	}
}

func (a *alertWriter) close() error {
	if a.file == nil {
		return nil
	}
	if err := a.file.Close(); err != nil {
		return fmt.Errorf("close the file of alerts: %w", err)
	}
	return nil
}

// write writes the guard's alerts until they end.
func (a *alertWriter) write(ctx context.Context, g guard) (written <-chan struct{}) {
	alerts, done := g.Alerts(ctx), make(chan struct{})
	go func() {
		defer close(done)
		_ = a.Run(alerts) // what it returns it has logged
		if ctx.Err() == nil {
			a.log.Error("there are no more alerts; the policies stay in force")
		}
	}()
	return done
}

// taken is how many alerts came, or were lost on the way.
func (a *alertWriter) taken() uint64 {
	c := a.Counters()
	return c.Read + c.Lost
}

// lost is how many alerts were lost on the way, or that an output missed.
func (a *alertWriter) lost() uint64 {
	c := a.Counters()
	lost := c.Lost
	for _, s := range c.Sinks {
		lost += s.Dropped + s.Queued
	}
	return lost
}
