package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
)

// EncodeState returns the policies as JSON with all that they hold, for a later
// version to read by [DecodeState]: also what their YAML has not, such as sources
// and the addresses of files. Fields that are zero are left out, so that a field
// that is new changes nothing of the states of policies without it.
func EncodeState(set []Policy) ([]byte, error) {
	states := make([]statePolicy, len(set))
	for i, p := range set {
		states[i].Policy = p
		states[i].Rules = make([]stateRule, len(p.Rules))
		for j, r := range p.Rules {
			rule := stateRule{Rule: r}
			var err error
			if rule.Allow, err = encodePatterns(r.Allow); err == nil {
				rule.Deny, err = encodePatterns(r.Deny)
			}
			if err != nil {
				return nil, fmt.Errorf("encoding rule %d of policy %q: %w", j, p.Name, err)
			}
			states[i].Rules[j] = rule
		}
	}
	data, err := json.Marshal(states)
	if err != nil {
		return nil, fmt.Errorf("encoding policies: %w", err)
	}
	return data, nil
}

// DecodeState returns the policies that [EncodeState] encoded. A field, an
// operation or a word that this version does not know is an error: it would
// enforce something else than what the state says.
func DecodeState(data []byte) ([]Policy, error) {
	var states []statePolicy
	if err := strictJSON(data, &states); err != nil {
		return nil, fmt.Errorf("decoding policies: %w", err)
	}
	set := make([]Policy, len(states))
	for i, state := range states {
		set[i] = state.Policy
		for j, rule := range state.Rules {
			r := rule.Rule
			var err error
			if r.Allow, err = decodePatterns(r.Operation, rule.Allow); err == nil {
				r.Deny, err = decodePatterns(r.Operation, rule.Deny)
			}
			if err != nil {
				return nil, fmt.Errorf("decoding rule %d of policy %q: %w", j, state.Name, err)
			}
			set[i].Rules = append(set[i].Rules, r)
		}
	}
	return set, nil
}

// The state of a policy and of a rule: their fields hide those of the model that
// have the same keys.
type (
	statePolicy struct {
		Policy
		Rules []stateRule `json:"rules,omitempty"`
	}
	stateRule struct {
		Rule
		Allow []json.RawMessage `json:"allow,omitempty"`
		Deny  []json.RawMessage `json:"deny,omitempty"`
	}
)

func encodePatterns(patterns []Pattern) ([]json.RawMessage, error) {
	var encoded []json.RawMessage
	for _, p := range patterns {
		data, err := json.Marshal(p)
		if err != nil {
			return nil, err
		}
		encoded = append(encoded, data)
	}
	return encoded, nil
}

// decodePatterns decodes patterns of the type that belongs to the operation.
func decodePatterns(o Operation, encoded []json.RawMessage) ([]Pattern, error) {
	all := Everything(o)
	if all == nil {
		return nil, checkOperation(o)
	}
	var patterns []Pattern
	for _, data := range encoded {
		pattern := reflect.New(reflect.TypeOf(all))
		if err := strictJSON(data, pattern.Interface()); err != nil {
			return nil, err
		}
		patterns = append(patterns, pattern.Elem().Interface().(Pattern))
	}
	return patterns, nil
}

// strictJSON decodes one value without fields that are not known.
func strictJSON(data []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more after the value")
	}
	return nil
}

// What is a number in the model is one or more words in the state, as in YAML.

// MarshalText returns the verdict as alerts spell it.
func (v Verdict) MarshalText() ([]byte, error) { return oneWord(v, Allow, Kill) }

// UnmarshalText reads a verdict.
func (v *Verdict) UnmarshalText(text []byte) error { return parseWord(v, text, Allow, Kill) }

// MarshalText returns the mode as YAML spells it.
func (m Mode) MarshalText() ([]byte, error) { return oneWord(m, ModeEnforce, ModeAudit) }

// UnmarshalText reads a mode.
func (m *Mode) UnmarshalText(text []byte) error { return parseWord(m, text, ModeEnforce, ModeAudit) }

// MarshalText returns the protocol as YAML spells it.
func (p Protocol) MarshalText() ([]byte, error) { return oneWord(p, TCP, OtherProtocol) }

// UnmarshalText reads a protocol.
func (p *Protocol) UnmarshalText(text []byte) error { return parseWord(p, text, TCP, OtherProtocol) }

// MarshalText returns the kinds of access as YAML spells them.
func (a Access) MarshalText() ([]byte, error) { return someWords(a, AllAccess) }

// UnmarshalText reads kinds of access.
func (a *Access) UnmarshalText(text []byte) error { return parseWords(a, text, ParseAccess) }

// MarshalText returns the flags as YAML spells them.
func (f MountFlags) MarshalText() ([]byte, error) { return someWords(f, AllMountFlags) }

// UnmarshalText reads flags.
func (f *MountFlags) UnmarshalText(text []byte) error { return parseWords(f, text, ParseMountFlag) }

// word is a number whose values from one to another have names.
type word interface {
	~uint8 | ~uint32
	String() string
}

func oneWord[T word](value, first, last T) ([]byte, error) {
	if value < first || value > last {
		return nil, fmt.Errorf("%v has no name", value)
	}
	return []byte(value.String()), nil
}

func parseWord[T word](to *T, text []byte, first, last T) error {
	for value := first; value <= last; value++ {
		if value.String() == string(text) {
			*to = value
			return nil
		}
	}
	return fmt.Errorf("unknown %T %q", *to, shorten(string(text)))
}

func someWords[T word](value, all T) ([]byte, error) {
	if value&^all != 0 {
		return nil, fmt.Errorf("%v has no name", value)
	}
	return []byte(value.String()), nil
}

func parseWords[T word](to *T, text []byte, parse func(string) (T, error)) error {
	*to = 0
	for name := range strings.SplitSeq(string(text), ", ") {
		value, err := parse(name)
		if err != nil {
			return err
		}
		*to |= value
	}
	return nil
}
