package sink_test

import (
	"context"
	"log"
	"log/slog"
	"os"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/sink"
	"github.com/ebpfguard/ebpfguard/sink/file"
	"github.com/ebpfguard/ebpfguard/sink/journald"
)

// All alerts go to a file that is rotated, those of kills to journald as well.
func Example() {
	m, err := ebpfguard.NewManager(ebpfguard.Options{})
	if err != nil {
		log.Fatal(err)
	}
	lines, err := file.Open("/var/log/ebpfguard/alerts.json", file.Options{MaxBytes: 100 << 20, Keep: 5})
	if err != nil {
		log.Fatal(err)
	}
	journal, err := journald.New("")
	if err != nil {
		log.Fatal(err)
	}
	pipeline, err := sink.NewPipeline(sink.Options{Log: slog.New(slog.NewTextHandler(os.Stderr, nil))},
		sink.Output{Name: "file", Sink: sink.JSON(lines)},
		sink.Output{Name: "journal", Sink: journal, Filter: sink.Filter{Verdicts: []string{"kill"}}},
	)
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()                       // ends Run, which writes what is left
	alerts := m.Alerts(ctx)              // before policies, so that none is missed
	go func() { pipeline.Run(alerts) }() // Counters tells what became of them
}
