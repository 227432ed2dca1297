package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/ebpfguard/ebpfguard/daemon/config"
	"github.com/ebpfguard/ebpfguard/sink"
	"github.com/ebpfguard/ebpfguard/sink/file"
	"github.com/ebpfguard/ebpfguard/sink/journald"
)

// startAlerts begins to hand alerts to the outputs. What it returns hands out the last
// ones, and closes the outputs.
func (d *Daemon) startAlerts(c config.Config) (finish func(), err error) {
	outputs, closers, err := d.openOutputs(c.Outputs)
	closeAll := func() {
		for _, c := range closers {
			if err := c.Close(); err != nil {
				d.log.Error("closing an output of alerts", "error", err)
			}
		}
	}
	if err != nil {
		closeAll()
		return func() {}, err
	}
	takeover, _ := d.guard.Takeover()
	window := c.FoldWindow
	if window == 0 {
		window = -1
	}
	lost := uint64(0)
	d.pipeline, err = sink.NewPipeline(sink.Options{
		Counter: d.guard.Sequence(), Missed: takeover.Lost, Window: window, Log: d.log,
		Lost: func() uint64 {
			if n, err := d.guard.AlertsLost(); err == nil {
				lost = n
			}
			return lost
		},
	}, outputs...)
	if err != nil {
		closeAll()
		return func() {}, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	alerts := d.guard.Alerts(ctx) // before any policy is in force
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := d.pipeline.Run(alerts)
		if ctx.Err() == nil {
			d.problem(problemAlerts, fmt.Errorf("there are no more alerts, the policies stay in force; start the daemon again: %w", errors.Join(err, io.EOF)))
		}
	}()
	return func() {
		cancel()
		<-done
		closeAll()
	}, nil
}

// openOutputs opens the outputs. They have to be closed also after an error.
func (d *Daemon) openOutputs(wanted []config.Output) (outputs []sink.Output, closers []io.Closer, err error) {
	used := map[string]int{}
	for _, o := range wanted {
		out := sink.Output{Name: string(o.Type), Filter: o.Filter}
		lines := sink.JSON
		if o.Format == config.Text {
			lines = sink.Text
		}
		switch o.Type {
		case config.Stdout:
			out.Sink = lines(d.options.Stdout)
		case config.File:
			f, err := file.Open(o.Path, file.Options{MaxBytes: int64(o.MaxBytes), Keep: int(o.Keep)})
			if err != nil {
				return nil, closers, err
			}
			d.files, closers = append(d.files, f), append(closers, f)
			out.Name, out.Sink = "file "+o.Path, lines(f)
		case config.Journald:
			journal, err := journald.New("")
			if err != nil {
				return nil, closers, err
			}
			closers = append(closers, journal)
			out.Sink = journal
		}
		if used[out.Name]++; used[out.Name] > 1 {
			out.Name = fmt.Sprintf("%s %d", out.Name, used[out.Name])
		}
		outputs = append(outputs, out)
	}
	return outputs, closers, nil
}

// reopenOutputs opens files anew, which may have been moved away.
func (d *Daemon) reopenOutputs() {
	for _, f := range d.files {
		if err := f.Reopen(); err != nil {
			d.log.Error("alerts go on to the former file", "error", err)
		}
	}
}
