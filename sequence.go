package ebpfguard

import (
	"sync"
	"sync/atomic"
)

// Sequence keeps the number of the last alert that was handed out, with a PinPath also for
// the manager that takes over. Package sink uses it as its counter. It may be used
// concurrently; when the manager is closed, it is a number in memory.
type Sequence struct {
	number atomic.Uint64
	// note is where the number is kept for another process, nil without an object.
	mu   sync.Mutex
	note *atomic.Uint64
}

// Sequence returns the manager's counter of alerts.
func (m *Manager) Sequence() *Sequence { return &m.sequence }

// Load returns the number of the last alert, 0 before the first.
func (s *Sequence) Load() uint64 { return s.number.Load() }

// Store keeps the number of the last alert.
func (s *Sequence) Store(number uint64) {
	s.number.Store(number)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.note != nil {
		s.note.Store(number)
	}
}

// keepIn tells where the number is kept from now on; nil when that memory is given back.
func (s *Sequence) keepIn(note *atomic.Uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note = note
	if note != nil {
		note.Store(s.number.Load())
	}
}
