package policy

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Flag is a flag by which a person describes a process or an object to `ebpfguard
// explain`.
type Flag struct {
	Name string
	// Usage is its help, in which `back quotes` name the value.
	Usage string
	Form  FlagForm
	// Default is the value when the flag is not given.
	Default string
	// NotUnknown says that a process which cannot be identified has no such thing.
	NotUnknown bool
	// Words are all values that it can have, if those are few.
	Words []string
}

// FlagForm says how a flag is written.
type FlagForm uint8

const (
	// FlagText has one value.
	FlagText FlagForm = iota
	// FlagList has values with commas between them.
	FlagList
	// FlagRepeated is given once for each value.
	FlagRepeated
	// FlagSwitch is true or false.
	FlagSwitch
)

// ObjectFlags returns the flags of all operations, each once.
func ObjectFlags() []*Flag {
	var all []*Flag
	for i := range operations {
		for _, flag := range operations[i].flags() {
			if !slices.Contains(all, flag) {
				all = append(all, flag)
			}
		}
	}
	return all
}

// flagOwners returns the operations whose objects the flag describes; none for a
// name that is no flag of objects.
func flagOwners(name string) []Operation {
	return operationsWith(func(o *operation) bool {
		return slices.ContainsFunc(o.flags(), func(flag *Flag) bool { return flag.Name == name })
	})
}

// Description is what a person says of a process or an object, by flags.
type Description struct {
	// Given has the values of the flags that are given, by the name of the flag;
	// of a switch "true" or "false".
	Given map[string][]string
	// Process is the process that acts on the object.
	Process Process
	// Users and Groups look names up, as in [ResolveNames].
	Users, Groups func(name string) (uint32, error)
}

// DescribeObject returns the object of the operation that the flags describe. An error
// says which flag is missing or wrong.
func DescribeObject(o Operation, d Description) (Object, error) {
	known := find(o)
	if known == nil {
		return nil, checkOperation(o)
	}
	if err := CheckFlags(o, d.Given); err != nil {
		return nil, err
	}
	return known.object(&d)
}

// CheckFlags returns an error for a flag that describes no objects of the operation.
func CheckFlags(o Operation, given map[string][]string) error {
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if owners := flagOwners(name); !slices.Contains(owners, o) {
			return fmt.Errorf("--%s does not apply to %s; it is for %s", name, o, JoinOperations(owners, "and"))
		}
	}
	return nil
}

// has reports whether any of the flags is given, switches as true.
func (d *Description) has(flags ...*Flag) bool {
	return slices.ContainsFunc(flags, func(flag *Flag) bool {
		values, ok := d.Given[flag.Name]
		switch flag.Form {
		case FlagSwitch:
			return ok && values[0] == "true"
		case FlagRepeated:
			return len(values) > 0
		}
		return ok
	})
}

// text returns the value of the flag.
func (d *Description) text(flag *Flag) string {
	if values, ok := d.Given[flag.Name]; ok {
		return strings.Join(values, ",")
	}
	return flag.Default
}

// list returns the values of the flag.
func (d *Description) list(flag *Flag) []string {
	values, ok := d.Given[flag.Name]
	if !ok && flag.Default != "" {
		return strings.Split(flag.Default, ",")
	}
	return values
}

// missing is the error for a flag without which nothing is asked.
func missing(flag *Flag, o Operation, example string) error {
	return fmt.Errorf("%s needs --%s; write one such as %s", o, flag.Name, example)
}

// invalid is the error for a flag with a wrong value.
func invalid(flag *Flag, err error) error { return fmt.Errorf("--%s: %w", flag.Name, err) }

// CheckCleanPath returns an error for a path that is not absolute and clean. An empty
// one is none.
func CheckCleanPath(p, example string) error {
	if p == "" || path.IsAbs(p) && path.Clean(p) == p {
		return nil
	}
	return fmt.Errorf("%q is not an absolute and clean path; write one such as %s", p, example)
}

// ParseAccount returns the id that is written as a number or as a name that lookup
// knows.
func ParseAccount(text string, lookup func(string) (uint32, error)) (uint32, error) {
	id, err := strconv.ParseUint(text, 10, 32)
	switch {
	case err == nil && id <= MaxID:
		return uint32(id), nil
	case text == "" || strings.Trim(text, "0123456789") == "":
		return 0, fmt.Errorf("%q is no id; write a name or a number up to %d", text, uint32(MaxID))
	}
	found, err := lookup(text)
	if errors.Is(err, ErrUnknownName) {
		return 0, fmt.Errorf("%q %w on this machine; write its number", text, ErrUnknownName)
	}
	if err != nil {
		return 0, fmt.Errorf("%q: %w; write its number", text, err)
	}
	return found, nil
}
