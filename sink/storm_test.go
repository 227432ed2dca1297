package sink

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ebpfguard/ebpfguard"
)

// sum adds up the counts of the alerts and looks for numbers that go back.
type sum struct {
	counts, last uint64
	disorder     bool
}

func (s *sum) Write(_ context.Context, alert ebpfguard.Alert) error {
	c := alert.Context()
	s.counts += c.Count
	s.disorder = s.disorder || c.Sequence <= s.last
	s.last = c.Sequence
	return nil
}

// TestStorm sends a million alerts to a sink that takes them and to one that
// takes none, and expects that each is accounted for, within bounded memory.
func TestStorm(t *testing.T) {
	const alerts, limit = 1_000_000, 64 << 20
	for name, window := range map[string]time.Duration{"folded": 100 * time.Millisecond, "not folded": -1} {
		t.Run(name, func(t *testing.T) {
			paths := make([]string, 10_000) // more than there are keys
			for i := range paths {
				paths[i] = fmt.Sprint("/srv/", i)
			}
			fast := &sum{}
			p := newPipeline(t, Options{Window: window, Drain: 2 * time.Second},
				Output{Name: "fast", Sink: fast}, Output{Name: "blocked", Sink: blocked{}})
			var before, now runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			var most atomic.Uint64
			err := p.Run(func(yield func(ebpfguard.Alert, error) bool) {
				for i := range alerts {
					// Half of them are the same.
					path := paths[0]
					if i%2 == 1 {
						path = paths[i%len(paths)]
					}
					if !yield(fileAlert(1, path), nil) {
						return
					}
					if i%100_000 == 0 {
						check(t, p.Counters(), 0, false)
						runtime.GC()
						runtime.ReadMemStats(&now)
						most.Store(max(most.Load(), now.HeapAlloc))
					}
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			c := p.Counters()
			check(t, c, 0, true)
			t.Logf("%d handed out, %d folded; sinks %+v; heap %d KiB more at most", c.Handed, c.Folded, c.Sinks, (most.Load()-min(before.HeapAlloc, most.Load()))>>10)
			if c.Read != alerts || fast.disorder {
				t.Errorf("%d read, numbers go back: %v", c.Read, fast.disorder)
			}
			if dropped := c.Sinks[0].Dropped; dropped == 0 && fast.counts != alerts || c.Sinks[0].Written == 0 {
				t.Errorf("the counts add up to %d, %d written, %d dropped", fast.counts, c.Sinks[0].Written, dropped)
			}
			if c.Sinks[1].Dropped != c.Handed {
				t.Errorf("the blocked sink missed %d of %d", c.Sinks[1].Dropped, c.Handed)
			}
			if most.Load() > before.HeapAlloc+limit {
				t.Errorf("the heap grew from %d to %d bytes", before.HeapAlloc, most.Load())
			}
		})
	}
}
