package ocihook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// object is a JSON object that keeps its members as they are written, and in their order: a file that
// somebody keeps by hand shall differ only where it must.
type object struct{ members []member }

type member struct {
	key   string
	value json.RawMessage
}

// UnmarshalJSON implements [json.Unmarshaler].
func (o *object) UnmarshalJSON(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	begin, err := d.Token()
	if err != nil {
		return err
	}
	if begin != json.Delim('{') {
		return fmt.Errorf("it is %.20s and no JSON object", data)
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return err
		}
		name, _ := key.(string) // in an object keys are strings
		if o.has(name) {
			return fmt.Errorf("it has %q twice", name)
		}
		o.members = append(o.members, member{name, value})
	}
	return nil
}

// MarshalJSON implements [json.Marshaler].
func (o *object) MarshalJSON() ([]byte, error) {
	var parts []string
	for _, m := range o.members {
		key, err := json.Marshal(m.key)
		if err != nil {
			return nil, err
		}
		parts = append(parts, string(key)+":"+string(m.value))
	}
	return []byte("{" + strings.Join(parts, ",") + "}"), nil
}

func (o *object) index(key string) int {
	return slices.IndexFunc(o.members, func(m member) bool { return m.key == key })
}

func (o *object) has(key string) bool { return o.index(key) >= 0 }

func (o *object) get(key string, to any) error {
	at := o.index(key)
	if at < 0 {
		return fmt.Errorf("it has no %q", key)
	}
	if err := json.Unmarshal(o.members[at].value, to); err != nil {
		return fmt.Errorf("%q: %w", key, err)
	}
	return nil
}

func (o *object) set(key string, value any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return err
	}
	if at := o.index(key); at >= 0 {
		o.members[at].value = raw
	} else {
		o.members = append(o.members, member{key, raw})
	}
	return nil
}

func (o *object) delete(key string) {
	o.members = slices.DeleteFunc(o.members, func(m member) bool { return m.key == key })
}

// indent returns JSON as it is written to files.
func indent(v any) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "    ")
	err := e.Encode(v)
	return b.String(), err
}
