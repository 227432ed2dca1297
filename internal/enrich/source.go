package enrich

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cilium/ebpf"

	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/internal/ring"
)

// source is the kernel's buffer of executions. What is in it is read when an alert
// asks, so that the alert finds all that was started before it, and every period, so
// that the buffer does not fill up.
type source struct {
	reader *ring.Reader
	record []byte
	done   chan struct{}
	ended  chan struct{}
}

const period = 100 * time.Millisecond

// Follow adds what is told through a ring buffer of [abi.Execution], until [Cache.Close].
func (c *Cache) Follow(executions *ebpf.Map) error {
	reader, err := ring.NewReader(executions)
	if err != nil {
		return fmt.Errorf("opening the buffer of executions: %w", err)
	}
	s := &source{reader: reader, done: make(chan struct{}), ended: make(chan struct{})}
	c.mu.Lock()
	c.source = s
	c.mu.Unlock()
	go func() {
		defer close(s.ended)
		ticker := time.NewTicker(period)
		defer ticker.Stop()
		for {
			select {
			case <-s.done:
				return
			case <-ticker.C:
				c.mu.Lock()
				c.catchUp()
				c.mu.Unlock()
			}
		}
	}()
	return nil
}

// catchUp adds what is in the buffer. A record that cannot be read is a defect, and
// its process is a miss.
func (c *Cache) catchUp() {
	if c.source == nil {
		return
	}
	for {
		record, err := c.source.reader.TryRead(c.source.record)
		if err != nil || record == nil {
			return
		}
		c.source.record = record
		if e, err := decode(record); err == nil {
			c.add(e)
		}
	}
}

// decode makes an execution from a record of the ring buffer.
func decode(data []byte) (Execution, error) {
	var e abi.Execution
	n, err := binary.Decode(data, binary.NativeEndian, &e)
	if err != nil {
		return Execution{}, fmt.Errorf("decoding an execution of %d bytes: %w", len(data), err)
	}
	text := data[n:]
	if len(text) < int(e.BinaryLength)+int(e.ArgumentsLength) {
		return Execution{}, fmt.Errorf("decoding an execution of %d bytes: its texts do not fit", len(data))
	}
	return Execution{
		Process: Process{e.Pid, e.Start}, Parent: Process{e.Ppid, e.ParentStart},
		Time: e.Time, Inode: e.Inode,
		Binary:    string(text[:e.BinaryLength]),
		Arguments: string(text[e.BinaryLength:][:e.ArgumentsLength]),
	}, nil
}

// Close ends the following.
func (c *Cache) Close() error {
	c.mu.Lock()
	s := c.source
	c.source = nil
	c.mu.Unlock()
	if s == nil {
		return nil
	}
	close(s.done)
	<-s.ended
	return s.reader.Close()
}
