package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/ebpfguard/ebpfguard/daemon/config"
	"github.com/ebpfguard/ebpfguard/sink"
	"github.com/ebpfguard/ebpfguard/sink/setup"
)

// startAlerts begins to hand alerts to the outputs. What it returns hands out the last
// ones, and closes the outputs.
func (d *Daemon) startAlerts(c config.Config) (finish func(), err error) {
	outputs, err := setup.Open(c.Outputs, setup.Environment{Stdout: d.options.Stdout})
	if err != nil {
		return func() {}, err
	}
	closeAll := func() {
		if err := outputs.Close(); err != nil {
			d.log.Error("closing the outputs of alerts", "error", err)
		}
	}
	d.outputs = outputs
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
	}, outputs.List()...)
	if err != nil {
		closeAll()
		return func() {}, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	alerts := d.guard.Alerts(ctx) // before any policy is in force
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := d.pipeline.Run(d.containers.counters.count(alerts))
		if ctx.Err() == nil {
			d.problem(problemAlerts, fmt.Errorf("the daemon reads no more alerts, but the policies stay in force; restart the daemon: %w", errors.Join(err, io.EOF)))
		}
	}()
	return func() {
		cancel()
		<-done
		closeAll()
	}, nil
}
