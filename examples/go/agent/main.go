// Agent enforces the policies of files and directories, and prints each alert as a line of JSON:
//
//	go build -o bin/ ./examples/go/agent && sudo bin/agent examples/no-rogue-sshd.yaml
//
// It enforces until it is interrupted.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
)

func main() {
	log.SetFlags(0)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := enforce(ctx, os.Stdout, os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func enforce(ctx context.Context, out io.Writer, paths []string) error {
	set, err := policy.Load(paths...)
	if err != nil {
		return err // all that is wrong, with file, line and column
	}
	// AutoAttach attaches the operations that the policies are about, Enrich adds arguments, ancestors,
	// units and containers to the alerts.
	m, err := ebpfguard.NewManager(ebpfguard.Options{AutoAttach: true, Enrich: true})
	if err != nil {
		return err // what the kernel lacks, and the remedy
	}
	defer m.Close()
	alerts := m.Alerts(ctx) // before the policies, so that no alert is missed
	if _, err := m.Apply(set); err != nil {
		return err
	}
	log.Printf("%d policies are in force", len(set))
	return print(out, alerts)
}

// print writes alerts until there are no more.
func print(out io.Writer, alerts iter.Seq2[ebpfguard.Alert, error]) error {
	for alert, err := range alerts {
		var lost *ebpfguard.LostAlertsError
		if errors.As(err, &lost) {
			log.Print(err) // this program was too slow for them; what they tell of was refused all the same
			continue
		}
		if err != nil {
			return err
		}
		line, err := alert.MarshalJSON()
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(out, "%s\n", line); err != nil {
			return err
		}
	}
	return nil
}
