package ebpfguard

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/ebpfguard/ebpfguard/internal/bpf"
	"github.com/ebpfguard/ebpfguard/internal/compile"
	"github.com/ebpfguard/ebpfguard/policy"
)

// pinned is what a manager leaves beside the tables of a revision, for the one that takes
// over from it.
type pinned struct {
	key      compile.Key
	set      []policy.Policy
	attached map[policy.Operation][]string
	marks    marks
	// counted are the counters of the revisions before the one that was in force before:
	// that one's own are in its tables until later.
	counted ruleCounts
	// hooks are those that the kernel is known to have, or not to have.
	hooks map[string]bool
}

// pinnedVersion is the version of pinnedForm and of all that it holds. It goes up when
// any of these changes (TestPinnedForm tells), once a release. Nothing has to be rebuilt
// for that: what the kernel enforces is in tables, whose layout has a number of its own
// (internal/bpf/pins.go). A version reads the forms of all before it, so a change may add
// what is zero in older ones, and give nothing another meaning.
//
// Version 1 was gob of the Go structs. It is read for the last time by the release that
// writes version 2 (pinned_gob.go).
const pinnedVersion = 3

// pinnedForm is how it is written: as JSON, and behind it the policies as
// [policy.EncodeState] writes them, which may be megabytes.
type pinnedForm struct {
	Version  int                           `json:"version"`
	Key      compile.Key                   `json:"key"`
	Attached map[policy.Operation][]string `json:"attached,omitempty"`
	Marks    map[string]uint               `json:"marks,omitempty"`
	Counted  map[string][]pinnedCounts     `json:"counted,omitempty"`
	Hooks    map[string]bool               `json:"hooks,omitempty"`
}

// pinnedCounts are the counters of a rule.
type pinnedCounts struct {
	Hits          uint64 `json:"hits,omitempty"`
	AlertsLost    uint64 `json:"alerts_lost,omitempty"`
	AlertsLimited uint64 `json:"alerts_limited,omitempty"`
}

func (p pinned) encode() ([]byte, error) {
	set, err := policy.EncodeState(p.set)
	if err != nil {
		return nil, err
	}
	form := pinnedForm{pinnedVersion, p.key, p.attached, p.marks, map[string][]pinnedCounts{}, p.hooks}
	for name, rules := range p.counted {
		for _, r := range rules {
			form.Counted[name] = append(form.Counted[name], pinnedCounts{r.Hits, r.AlertsLost, r.AlertsLimited})
		}
	}
	data, err := json.Marshal(form)
	if err != nil {
		return nil, fmt.Errorf("encoding what a later process needs: %w", err)
	}
	return slices.Concat(data, []byte("\n"), set), nil
}

// decodePinned reads what this version or one before wrote. Of a newer one the error
// wraps [ErrPinsNewer]: the policies may say what this version does not know, so it could
// not tell what is in force.
func decodePinned(data []byte) (pinned, error) {
	if !bytes.HasPrefix(data, []byte("{")) {
		return decodeGob(data)
	}
	var version struct{ Version int }
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(&version); err != nil {
		return pinned{}, damaged(err)
	}
	if version.Version > pinnedVersion {
		return pinned{}, fmt.Errorf("%w: the policy set in force was written as version %d, this version of ebpfguard reads up to %d; install the version that wrote it, or end its enforcement (ebpfguard down)",
			ErrPinsNewer, version.Version, pinnedVersion)
	}
	var form pinnedForm
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&form); err != nil {
		return pinned{}, damaged(err)
	}
	set, err := policy.DecodeState(data[d.InputOffset():])
	if err != nil {
		return pinned{}, damaged(err)
	}
	p := pinned{form.Key, set, form.Attached, form.Marks, ruleCounts{}, form.Hooks}
	for name, rules := range form.Counted {
		for _, r := range rules {
			p.counted[name] = append(p.counted[name], RuleStats{Hits: r.Hits, AlertsLost: r.AlertsLost, AlertsLimited: r.AlertsLimited})
		}
	}
	return p.complete(), nil
}

// complete makes the maps that are missing, for they may be added to.
func (p pinned) complete() pinned {
	if p.attached == nil {
		p.attached = map[policy.Operation][]string{}
	}
	if p.marks == nil {
		p.marks = marks{}
	}
	if p.counted == nil {
		p.counted = ruleCounts{}
	}
	return p
}

func damaged(err error) error {
	return fmt.Errorf("%w: the policy set in force cannot be read: %w; end what is left of its enforcement (ebpfguard down), or replace it (--replace-pins)", bpf.ErrPinsDamaged, err)
}
