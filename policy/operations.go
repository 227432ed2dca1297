package policy

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
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

// Operations returns the operations that this version of ebpfguard enforces.
func Operations() []Operation {
	return []Operation{FileOpen, BprmCheckSecurity, SbMount, SbRemount, SbUmount, TaskFixSetuid, SocketBind, SocketConnect}
}

// Known reports whether this version of ebpfguard enforces the operation.
func (o Operation) Known() bool { return slices.Contains(Operations(), o) }

// Revokes reports whether rules of the operation may have [Rule.Revoke].
func (o Operation) Revokes() bool {
	return o == FileOpen || o == SocketBind || o == SocketConnect
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
	names := make([]string, 0, len(Operations()))
	for _, known := range Operations() {
		names = append(names, string(known))
	}
	switch {
	case o.Known():
		return nil
	case o == "":
		return fmt.Errorf("the rule has no operation; name one of: %s", strings.Join(names, ", "))
	}
	return fmt.Errorf("unknown operation %q; %s", o, suggest(string(o), names))
}

var errRevoke = fmt.Errorf("revoke is about files and sockets that are open already, so it belongs to %s, %s and %s; leave it out", FileOpen, SocketBind, SocketConnect)

// checkPattern returns what is wrong with a pattern of a rule for the operation.
func checkPattern(o Operation, pattern Pattern) error {
	if pattern == nil {
		return errors.New("the pattern is nil; remove it")
	}
	want := Everything(o)
	if want == nil {
		return nil // the operation itself is wrong
	}
	if reflect.TypeOf(pattern) != reflect.TypeOf(want) {
		return fmt.Errorf("%s does not take a %T; use a %s (a value, not a pointer)", o, pattern, reflect.TypeOf(want).Name())
	}
	if err := pattern.validate(); err != nil {
		return err
	}
	if mount, ok := pattern.(MountPattern); ok {
		return mount.validateFor(o)
	}
	return nil
}

// Everything returns the pattern that selects all objects of the operation, nil if
// there is no such operation.
func Everything(o Operation) Pattern {
	switch o {
	case FileOpen:
		return FilePattern{All: true}
	case BprmCheckSecurity:
		return ProgramPattern{All: true}
	case SbMount, SbRemount, SbUmount:
		return MountPattern{All: true}
	case TaskFixSetuid:
		return CredentialsPattern{All: true}
	case SocketBind, SocketConnect:
		return SocketPattern{All: true}
	}
	return nil
}
