package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"

	"github.com/ebpfguard/ebpfguard/sink"
	"github.com/ebpfguard/ebpfguard/sink/file"
	"github.com/ebpfguard/ebpfguard/sink/setup"
	"github.com/ebpfguard/ebpfguard/sink/stdout"
)

// alertQueue is how many alerts wait for an output.
const alertQueue = 1 << 14

// specs returns the outputs that the flags ask for, and what is wrong with them.
func (f runFlags) specs() ([]setup.Spec, error) {
	specs := f.outputs
	if !f.named {
		specs = []setup.Spec{{Settings: &stdout.Settings{Format: sink.Format(f.output)}}}
	}
	if f.alerts != "" {
		path, err := filepath.Abs(f.alerts)
		if err != nil {
			return nil, err
		}
		specs = append(specs, setup.Spec{Settings: &file.Settings{Path: path}})
	}
	return specs, setup.Validate(specs)
}

// alertWriter writes alerts to the outputs.
type alertWriter struct {
	*sink.Pipeline
	log     *slog.Logger
	outputs *setup.Outputs
}

// newAlertWriter opens the outputs.
func newAlertWriter(log *slog.Logger, specs []setup.Spec, env setup.Environment) (*alertWriter, error) {
	outputs, err := setup.Open(specs, env)
	if err != nil {
		return nil, err
	}
	list := outputs.List()
	for i := range list {
		list[i].Queue = alertQueue
	}
	// No folding: a person may be watching.
	pipeline, err := sink.NewPipeline(sink.Options{Window: -1, Drain: drainTime, Log: log}, list...)
	if err != nil {
		return nil, errors.Join(err, outputs.Close())
	}
	return &alertWriter{pipeline, log, outputs}, nil
}

// reopen opens files again, which may have been moved away.
func (a *alertWriter) reopen() {
	if err := a.outputs.Reopen(); err != nil {
		a.log.Error("a file of alerts was not reopened; alerts still go to the old one", "error", err)
	}
}

func (a *alertWriter) close() error { return a.outputs.Close() }

// write writes the guard's alerts until they end.
func (a *alertWriter) write(ctx context.Context, g guard) (written <-chan struct{}) {
	alerts, done := g.Alerts(ctx), make(chan struct{})
	go func() {
		defer close(done)
		_ = a.Run(alerts) // what it returns it has logged
		if ctx.Err() == nil {
			a.log.Error("no more alerts can be read; the policies stay in force")
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
