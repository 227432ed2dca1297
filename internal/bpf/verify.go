package bpf

import (
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/ebpfguard/ebpfguard/internal/abi"
)

// published is what the kernel was told is in force.
type published struct {
	tables *ebpf.Map
	word   uint64
	named  namedBits
}

// Verify compares what the kernel's maps say is in force with what was published, which others than
// this process may have written: CAP_SYS_ADMIN alone opens a map by its number. It also looks whether
// programs run at all. It puts right what differs and returns what that was. The caller must not publish
// meanwhile.
func (o *Object) Verify() ([]string, error) {
	want := o.published
	if want.tables == nil {
		return nil, nil
	}
	var wrong []string
	var number uint32
	info, err := want.tables.Info()
	if err != nil {
		return nil, fmt.Errorf("looking at the tables in force: %w", err)
	}
	id, _ := info.ID()
	revisions := o.maps[GuardMapRevisions]
	if err := revisions.Lookup(uint32(abi.SlotActive), &number); err != nil || number != uint32(id) {
		wrong = append(wrong, fmt.Sprintf("the map of revisions had the tables %d in force, not %d", number, id))
		if err := revisions.Put(uint32(abi.SlotActive), want.tables); err != nil {
			return wrong, fmt.Errorf("putting the tables in force again: %w", err)
		}
	}
	// A change that failed may have left the bit for marks.
	if word := o.active.Load(); word|abi.ActiveMarks == want.word|abi.ActiveMarks {
		o.active.Store(want.word)
	} else {
		wrong = append(wrong, fmt.Sprintf("the word that says what is in force was %#x, not %#x", word, want.word))
		o.active.Store(want.word)
	}
	if o.named.lacks(want.named) {
		wrong = append(wrong, "the filter of the files that policies name lacked some of them")
		o.named.set(want.named)
	}
	stopped, err := o.verifyRuns()
	if stopped != "" {
		wrong = append(wrong, stopped)
	}
	return wrong, err
}
