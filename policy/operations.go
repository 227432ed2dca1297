package policy

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/ebpfguard/ebpfguard/internal/strictyaml"
)

// Operation names what a process wants to do. Its value is the name of the
// LSM hook that stands for the effect (include/linux/lsm_hook_defs.h in the
// kernel's source); the same name is used in YAML, Go, C and alerts.
type Operation string

// The operations. Each is an effect, by whatever system call: docs/hooks.md
// lists the hooks that cover it between them.
const (
	// FileOpen: a file is read, written or executed, or the file itself is
	// changed, created, renamed or removed.
	FileOpen Operation = "file_open"
	// BprmCheckSecurity: a program is started.
	BprmCheckSecurity Operation = "bprm_check_security"
	// SbMount: something is mounted, moved, or its propagation changed.
	SbMount Operation = "sb_mount"
	// SbRemount: the options of a mount or filesystem are changed.
	SbRemount Operation = "sb_remount"
	// SbUmount: a mount is removed.
	SbUmount Operation = "sb_umount"
	// TaskFixSetuid: a process changes its identity.
	TaskFixSetuid Operation = "task_fix_setuid"
	// SocketBind: a socket takes a local address and port.
	SocketBind Operation = "socket_bind"
	// SocketConnect: a socket connects, or sends to an address.
	SocketConnect Operation = "socket_connect"
)

// operation is all that the package has to know of an operation. What depends on
// the kind of its objects is in the file of that kind.
type operation struct {
	name Operation
	// revokes says that rules may have [Rule.Revoke].
	revokes bool
	kind
}

// operations are all operations, in the order in which they are told to people. A
// new one adds its name above and a line here.
var operations = []operation{
	{FileOpen, true, fileKind{}},
	{BprmCheckSecurity, false, programKind{}},
	{SbMount, false, mountKind{SbMount, mountFlags}},
	{SbRemount, false, mountKind{SbRemount, remountFlags}},
	{SbUmount, false, mountKind{SbUmount, umountFlags}},
	{TaskFixSetuid, false, credentialsKind{}},
	{SocketBind, true, bindKind{}},
	{SocketConnect, true, connectKind{}},
}

// kind is a kind of objects, and of patterns that select them, as an operation has
// it. Copying, comparing and encoding patterns needs nothing here: [Clone],
// [Equal] and [EncodeState] find the fields by themselves.
type kind interface {
	// everything returns the pattern that selects all objects. Its type is that
	// of the operation's patterns.
	everything() Pattern
	// check returns what keeps a valid pattern of that type from matching any
	// object of the operation.
	check(Pattern) error
	// keys names the keys of the [Specificity], in their order: first those that
	// name the object, then those that tell of which kind the operation is.
	keys() (names, kinds []string)

	// fields returns the fields of a pattern set in YAML, and an example of one.
	fields() (names []string, example string)
	// decode reads a pattern set.
	decode(*decoder, strictyaml.Fields) Pattern

	// judge decides about an object. It returns false for one that cannot be
	// judged.
	judge(judge, Object) (judgement, bool)
	// notes tells how the object that decided differs from the one that was
	// asked about.
	notes(from, to Object) []string
	// representatives returns literal objects such that each object is selected
	// by exactly the same of the patterns as one of them, nil if those are too
	// many or too hard to find.
	representatives([]Pattern) []Object

	// flags returns the flags that describe an object to `ebpfguard explain`,
	// object the object that they describe.
	flags() []*Flag
	object(*Description) (Object, error)

	// randomPattern and randomObject return what tests try. The pattern may be
	// one that names nothing.
	randomPattern(Draws) Pattern
	randomObject(Draws) Object
}

// find returns an operation, nil if there is none of the name.
func find(name Operation) *operation {
	for i := range operations {
		if operations[i].name == name {
			return &operations[i]
		}
	}
	return nil
}

// Operations returns the operations that this version of ebpfguard enforces.
func Operations() []Operation { return operationsWith(func(*operation) bool { return true }) }

func operationsWith(has func(*operation) bool) []Operation {
	var names []Operation
	for i := range operations {
		if has(&operations[i]) {
			names = append(names, operations[i].name)
		}
	}
	return names
}

// Known reports whether this version of ebpfguard enforces the operation.
func (o Operation) Known() bool { return find(o) != nil }

// Revokes reports whether rules of the operation may have [Rule.Revoke].
func (o Operation) Revokes() bool {
	known := find(o)
	return known != nil && known.revokes
}

// NameKeys returns how many keys of a [Specificity] name the object; those after
// them tell of which kind the operation is.
func (o Operation) NameKeys() int {
	if known := find(o); known != nil {
		names, _ := known.keys()
		return len(names)
	}
	return len(Specificity{})
}

// Everything returns the pattern that selects all objects of the operation, nil if
// there is no such operation.
func Everything(o Operation) Pattern {
	if known := find(o); known != nil {
		return known.everything()
	}
	return nil
}

// ParseOperation returns the operation with the name. The error says which one may
// be meant.
func ParseOperation(name string) (Operation, error) {
	o := Operation(name)
	if err := checkOperation(o); err != nil {
		return "", err
	}
	return o, nil
}

func checkOperation(o Operation) error {
	var names []string
	for _, known := range Operations() {
		names = append(names, string(known))
	}
	switch {
	case o.Known():
		return nil
	case o == "":
		return fmt.Errorf("the rule has no operation; name one of: %s", strings.Join(names, ", "))
	}
	return fmt.Errorf("unknown operation %q; %s", o, strictyaml.Suggest(string(o), names))
}

// checkRevoke returns an error for an operation that has nothing to revoke.
func checkRevoke(o Operation) error {
	if o.Revokes() {
		return nil
	}
	owners := JoinOperations(operationsWith(func(known *operation) bool { return known.revokes }), "and")
	return fmt.Errorf("revoke is about files and sockets that are open already, so it belongs to %s; leave it out", owners)
}

// checkPattern returns what is wrong with a pattern of a rule for the operation.
func checkPattern(o Operation, pattern Pattern) error {
	if pattern == nil {
		return errors.New("the pattern is nil; remove it")
	}
	known := find(o)
	if known == nil {
		return nil // the operation itself is wrong
	}
	if want := reflect.TypeOf(known.everything()); reflect.TypeOf(pattern) != want {
		return fmt.Errorf("%s does not take a %T; use a %s (a value, not a pointer)", o, pattern, want.Name())
	}
	if err := pattern.validate(); err != nil {
		return err
	}
	return known.check(pattern)
}

// JoinOperations lists operations as a sentence does.
func JoinOperations(operations []Operation, last string) string {
	var b strings.Builder
	for i, o := range operations {
		switch {
		case i == 0:
		case i == len(operations)-1:
			b.WriteString(" " + last + " ")
		default:
			b.WriteString(", ")
		}
		b.WriteString(string(o))
	}
	return b.String()
}
