package v1alpha1

import (
	"bytes"
	"encoding/json"
	"regexp"
)

// Number is a number, a range of numbers such as 2200-2299 or, where that has any, a name: as text, of which JSON has
// the numbers without quotes. (intstr.IntOrString ends at 2147483647. An agent could not read a list with a greater
// one in it at all.)
//
// +kubebuilder:validation:XIntOrString
// +kubebuilder:validation:Type=""
type Number string

var number = regexp.MustCompile(`^-?[0-9]+$`)

// MarshalJSON implements [json.Marshaler].
func (n Number) MarshalJSON() ([]byte, error) {
	if number.MatchString(string(n)) && json.Valid([]byte(n)) {
		return []byte(n), nil
	}
	return json.Marshal(string(n))
}

// UnmarshalJSON implements [json.Unmarshaler]. What is neither a number nor a text is taken as it is, for validation to
// refuse.
func (n *Number) UnmarshalJSON(data []byte) error {
	data = bytes.TrimSpace(data)
	if len(data) > 0 && data[0] == '"' {
		return json.Unmarshal(data, (*string)(n))
	}
	*n = Number(data)
	return nil
}
