package boot

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/ebpfguard/ebpfguard/cmd/ebpfguard/internal/change"
)

// recordFile keeps what Enable found where it has to change a text that is not its own.
const recordFile = "/var/lib/ebpfguard/boot.json"

// record is the value of lsm= before and after Enable.
type record struct {
	// Was is nil when there was no lsm=.
	Was *string `json:"was"`
	Is  string  `json:"is"`
	// Created says that Enable made the file.
	Created bool `json:"created,omitempty"`
}

// remember returns the change that keeps the record.
func (s System) remember(r record) (change.File, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return change.File{}, err
	}
	return s.change(recordFile, string(data)+"\n", 0o600)
}

// recall returns the record, nil without one.
func (s System) recall() (*record, error) {
	text, err := s.read(recordFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var r record
	if err := json.Unmarshal([]byte(text), &r); err != nil || !moduleList.MatchString(r.Is) {
		return nil, fmt.Errorf("%s is damaged; take lsm= out of the kernel command line by hand and remove this file", recordFile)
	}
	return &r, nil
}

// changed is the error of a parameter that somebody else has changed since.
func (r *record) changed(where string) error {
	return fmt.Errorf("%s: lsm= is not %s any more, which 'ebpfguard enable' had set; change it by hand and remove %s", where, r.Is, recordFile)
}
