package bpf

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/binary"
	"encoding/gob"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"sync"
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/ebpfguard/ebpfguard/internal/abi"
)

// handover is what a revision of tables tells a process that takes the
// enforcement over: what has to be pinned, as the kernel numbers it, and what the
// owner of the object wants to know. It lies behind the tables in their map, so
// that it is in force exactly as long as they are.
type handover struct {
	Build string
	// Maps and Links are the numbers of the maps and of the attached programs by name.
	Maps, Links map[string]uint32
	Payload     []byte
}

// buildSalt lets tests of upgrades make another build of the same programs; set by
// the linker.
var buildSalt string

var programsHash = sync.OnceValue(func() string {
	sum := sha256.Sum256(slices.Concat([]byte(buildSalt), _GuardBytes, _OlderBytes))
	return hex.EncodeToString(sum[:6])
})

// Build names the programs that this process would attach.
func Build(enrich bool) string {
	if enrich {
		return programsHash() + "_enrich"
	}
	return programsHash()
}

// maxHandover bounds what a damaged header can make a reader allocate.
const maxHandover = 1 << 28

func (h handover) encode() ([]byte, error) {
	var buffer bytes.Buffer
	w, err := flate.NewWriter(&buffer, flate.BestSpeed)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(gob.NewEncoder(w).Encode(h), w.Close()); err != nil {
		return nil, fmt.Errorf("encoding what a later process needs: %w", err)
	}
	return buffer.Bytes(), nil
}

func decodeHandover(data []byte) (h handover, err error) {
	r := io.LimitReader(flate.NewReader(bytes.NewReader(data)), maxHandover)
	return h, gob.NewDecoder(r).Decode(&h)
}

// append adds the handover to the lines of a revision.
func (h handover) append(lines []abi.Line) ([]abi.Line, error) {
	data, err := h.encode()
	if err != nil {
		return nil, err
	}
	header := (*abi.Revision)(unsafe.Pointer(&lines[0]))
	header.Handover = uint32(len(lines) * abi.LineWords)
	header.HandoverBytes = uint32(len(data))
	header.HandoverCheck = crc32.ChecksumIEEE(data)
	size := int(unsafe.Sizeof(abi.Line{}))
	added := make([]abi.Line, (len(data)+size-1)/size)
	if len(added) > 0 {
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&added[0])), len(added)*size), data)
	}
	return append(lines, added...), nil
}

// tables is a revision in the kernel.
type tables struct {
	*ebpf.Map
	header abi.Revision
}

// line returns a line of tables.
func (t tables) line(number uint32) (line abi.Line, err error) {
	if err := t.Lookup(number, &line); err != nil {
		return line, fmt.Errorf("reading line %d of %d of the tables: %w", number, t.MaxEntries(), err)
	}
	return line, nil
}

// openTables reads the header of tables and takes them over.
func openTables(m *ebpf.Map) (tables, error) {
	t := tables{Map: m}
	if m.Type() != ebpf.Array || m.ValueSize() != uint32(unsafe.Sizeof(abi.Line{})) {
		return t, fmt.Errorf("they are a map of type %v with values of %d bytes", m.Type(), m.ValueSize())
	}
	first, err := t.line(0)
	t.header = *(*abi.Revision)(unsafe.Pointer(&first))
	return t, err
}

// handover reads what lies behind the tables.
func (t tables) handover() (h handover, err error) {
	size := uint64(unsafe.Sizeof(abi.Line{}))
	start, length := uint64(t.header.Handover)/abi.LineWords, uint64(t.header.HandoverBytes)
	count := (length + size - 1) / size
	if start == 0 || length == 0 || start+count > uint64(t.MaxEntries()) {
		return h, fmt.Errorf("revision %d tells nothing about itself", t.header.Number)
	}
	data := make([]byte, 0, count*size)
	for i := range count {
		line, err := t.line(uint32(start + i))
		if err != nil {
			return h, err
		}
		for _, word := range line.Words {
			data = binary.NativeEndian.AppendUint32(data, word)
		}
	}
	data = data[:length]
	if crc32.ChecksumIEEE(data) != t.header.HandoverCheck {
		return h, fmt.Errorf("what revision %d tells about itself is damaged", t.header.Number)
	}
	if h, err = decodeHandover(data); err != nil {
		return h, fmt.Errorf("what revision %d tells about itself cannot be read: %w", t.header.Number, err)
	}
	return h, nil
}

// handover returns what a process needs to take over the maps, the programs that track
// tasks and those named.
func (o *Object) handover(programs []string, payload []byte) (h handover, err error) {
	h = handover{Build: Build(o.options.Enrich), Maps: map[string]uint32{}, Links: map[string]uint32{}, Payload: payload}
	for name, m := range o.maps {
		if !isPinned(name) {
			continue
		}
		if h.Maps[name], err = mapID(m); err != nil {
			return h, err
		}
	}
	for name, l := range o.attached {
		if !slices.Contains(programs, name) && !slices.Contains(o.tracking(), name) {
			continue
		}
		info, err := l.Info()
		if err != nil {
			return h, fmt.Errorf("examining %s: %w", name, err)
		}
		h.Links[name] = uint32(info.ID)
	}
	return h, nil
}

// keptTables is how many revisions before the one in force stay pinned: alerts of
// them may be in the buffer when the process ends.
const keptTables = 4

// retain pins tables before they come into force.
func (o *Object) retain(m *ebpf.Map, number uint32) error {
	if o.options.Pins == nil {
		return nil
	}
	if err := m.Pin(o.options.Pins.tablesPath(number)); err != nil {
		return fmt.Errorf("pinning tables: %w", err)
	}
	o.retained = append(o.retained, number)
	return nil
}

// forget removes the pins of revisions that are too old.
func (o *Object) forget() error {
	for len(o.retained) > keptTables+1 {
		if err := os.Remove(o.options.Pins.tablesPath(o.retained[0])); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("removing the pin of former tables: %w", err)
		}
		o.retained = o.retained[1:]
	}
	return nil
}

// unretain removes the pin of tables that do not come into force.
func (o *Object) unretain(number uint32) error {
	o.retained = slices.DeleteFunc(o.retained, func(n uint32) bool { return n == number })
	if o.options.Pins == nil {
		return nil
	}
	if err := os.Remove(o.options.Pins.tablesPath(number)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing the pin of tables: %w", err)
	}
	return nil
}
