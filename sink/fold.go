package sink

import (
	"container/list"
	"time"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
)

// foldKey is what identical alerts have in common.
type foldKey struct {
	operation policy.Operation
	hook      string
	verdict   policy.Verdict
	undecided bool
	policy    string
	rule      int
	revision  uint32
	pid       uint32
	start     uint64
	binary    string
	object    any
}

func keyOf(alert ebpfguard.Alert) foldKey {
	c := alert.Context()
	return foldKey{
		c.Operation, c.Hook, c.Verdict, c.Undecided, c.Policy, c.Rule, c.Revision,
		c.PID, c.StartTime, c.Binary, alert.Object(),
	}
}

// folder folds identical alerts. All windows are equally long, so that the
// order of their beginnings is that of their ends.
type folder struct {
	window  time.Duration
	most    int
	entries map[foldKey]*list.Element // of *foldEntry
	order   *list.List
	pending uint64 // entries that hold an alert
	folded  uint64 // alerts that another one counts
}

type foldEntry struct {
	key foldKey
	end time.Time
	// alert is the first further one, nil if there was none.
	alert ebpfguard.Alert
	count uint64
	last  time.Time
}

func newFolder(window time.Duration, most int) *folder {
	return &folder{window: window, most: most, entries: map[foldKey]*list.Element{}, order: list.New()}
}

// add hands out what the alert makes due: what had to make room, and itself
// unless it is folded.
func (f *folder) add(now time.Time, alert ebpfguard.Alert, emit func(ebpfguard.Alert)) {
	f.expire(now, emit)
	key, c := keyOf(alert), alert.Context()
	if element, ok := f.entries[key]; ok {
		e := element.Value.(*foldEntry)
		if e.alert == nil {
			e.alert = alert
			f.pending++
		} else {
			f.folded++
		}
		e.count += max(c.Count, 1)
		e.last = c.Time
		if c.Count > 1 {
			e.last = c.Last
		}
		return
	}
	if f.order.Len() >= f.most {
		f.close(f.order.Front(), emit)
	}
	f.entries[key] = f.order.PushBack(&foldEntry{key: key, end: now.Add(f.window)})
	emit(alert)
}

// expire closes the windows that have ended.
func (f *folder) expire(now time.Time, emit func(ebpfguard.Alert)) {
	for e := f.order.Front(); e != nil && !e.Value.(*foldEntry).end.After(now); e = f.order.Front() {
		f.close(e, emit)
	}
}

// flush closes all windows.
func (f *folder) flush(emit func(ebpfguard.Alert)) {
	for e := f.order.Front(); e != nil; e = f.order.Front() {
		f.close(e, emit)
	}
}

func (f *folder) close(element *list.Element, emit func(ebpfguard.Alert)) {
	e := f.order.Remove(element).(*foldEntry)
	delete(f.entries, e.key)
	if e.alert == nil {
		return
	}
	f.pending--
	c := e.alert.Context()
	c.Count, c.Last = e.count, e.last
	emit(e.alert.WithContext(c))
}
