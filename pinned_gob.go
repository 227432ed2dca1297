package ebpfguard

import (
	"bytes"
	"encoding/gob"
	"sync"

	"github.com/ebpfguard/ebpfguard/internal/compile"
	"github.com/ebpfguard/ebpfguard/policy"
)

// gobForm is what version 1 of [pinnedForm] was: the Go structs of its time, by their
// names. Nothing writes it any more.
type gobForm struct {
	Key      compile.Key
	Set      []policy.Policy
	Marks    map[string]uint
	Attached map[policy.Operation][]string
	Counts   ruleCounts
	Hooks    map[string]bool
}

// registerPatterns lets gob know what a policy's patterns can be.
var registerPatterns = sync.OnceFunc(func() {
	for _, pattern := range []policy.Pattern{
		policy.FilePattern{}, policy.ProgramPattern{}, policy.MountPattern{}, policy.CredentialsPattern{}, policy.SocketPattern{},
	} {
		gob.Register(pattern)
	}
})

func decodeGob(data []byte) (pinned, error) {
	registerPatterns()
	var form gobForm
	if err := gob.NewDecoder(bytes.NewReader(data)).Decode(&form); err != nil {
		return pinned{}, damaged(err)
	}
	return pinned{form.Key, form.Set, form.Attached, form.Marks, form.Counts, form.Hooks}.complete(), nil
}
