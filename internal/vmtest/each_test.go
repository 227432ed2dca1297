package vmtest

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/ebpfguard/ebpfguard/internal/vmtest/wire"
)

// TestSplitter takes the output apart however it is cut into pieces.
func TestSplitter(t *testing.T) {
	text := "noise" + wire.Mark + `begin {"Program":0}` + "\nfirst\nno newline" + wire.Mark + `end {"Program":0,"Exit":3}` + "\n" +
		wire.Mark + `begin {"Program":1}` + "\n\x1e\x1evm is no mark\n" + wire.Mark + `end {"Program":1}` + "\n"
	for size := 1; size <= len(text); size++ {
		var rest bytes.Buffer
		outputs := make([]bytes.Buffer, 2)
		s := &splitter{
			programs: []Program{{Stdout: &outputs[0], Timeout: time.Hour}, {Stdout: &outputs[1], Timeout: time.Hour}},
			results:  make([]Result, 2), rest: &rest,
			cancel: func(err error) { t.Fatal(err) },
		}
		for left := text; left != ""; {
			n := min(size, len(left))
			if written, err := io.WriteString(s, left[:n]); err != nil || written != n {
				t.Fatalf("%d, %v", written, err)
			}
			left = left[n:]
		}
		s.watch.stop()
		if got := outputs[0].String() + "|" + outputs[1].String() + "|" + rest.String(); got != "first\nno newline|\x1e\x1evm is no mark\n|noise" {
			t.Fatalf("in pieces of %d bytes: %q", size, got)
		}
		if s.ended != 2 || s.running || s.results[0].Exit != 3 || s.results[1].Exit != 0 {
			t.Fatalf("in pieces of %d bytes: %+v", size, s)
		}
	}
}

func TestSplitterRefusesNonsense(t *testing.T) {
	for _, line := range []string{"begin 1", `begin {"Program":1}`, `end {"Program":-1}`} {
		var why error
		s := &splitter{programs: make([]Program, 1), results: make([]Result, 1), cancel: func(err error) { why = err }}
		if _, err := io.WriteString(s, wire.Mark+line+"\n"); err != nil || why == nil || !strings.Contains(why.Error(), "nonsense") {
			t.Errorf("%s: %v, %v", line, why, err)
		}
	}
}

func TestWatchdog(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	var w watchdog
	w.set(time.Hour, cancel)
	w.set(time.Millisecond, cancel)
	<-ctx.Done()
	if err := context.Cause(ctx); !strings.Contains(err.Error(), "-timeout") {
		t.Error(err)
	}
}

func TestMeter(t *testing.T) {
	var none *Meter
	if none.CPU() != 0 {
		t.Error("a meter that is none has measured")
	}
	var m Meter
	m.start(1)
	m.start(0)
	if m.CPU() != 0 {
		t.Error("a guest that does not run takes time")
	}
}
