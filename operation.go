package ebpfguard

import (
	"fmt"

	"github.com/ebpfguard/ebpfguard/internal/bpf"
	"github.com/ebpfguard/ebpfguard/policy"
)

// operation describes an operation to the rest of the package. A new operation
// adds one to operations.
type operation struct {
	name policy.Operation
	id   int
	// hooks cover the operation's effect between them. Each is the name of
	// an LSM hook and of the program for it.
	hooks []hook
	// alert makes the operation's alert from a record of the kernel.
	alert func(AlertContext, *bpf.Alert) Alert
}

type hook struct {
	name, effect string
	// optional says that a kernel may lack the hook because it lacks what
	// the hook guards.
	optional bool
}

// operations are all operations, in the order of [policy.Operations].
var operations = []*operation{&socketBind}

func operationByName(name policy.Operation) (*operation, error) {
	for _, o := range operations {
		if o.name == name {
			return o, nil
		}
	}
	return nil, fmt.Errorf("operation %q: %w by this version of ebpfguard; it enforces %v", name, ErrNotSupported, policy.Operations())
}

func operationByID(id uint32) *operation {
	for _, o := range operations {
		if uint32(o.id) == id {
			return o
		}
	}
	return nil
}

// available returns the names of the hooks that this kernel has. It is an error
// when one is missing that the operation cannot do without.
func (o *operation) available() ([]string, error) {
	var names []string
	for _, h := range o.hooks {
		ok, err := bpf.HasHook(h.name)
		if err != nil {
			return nil, err
		}
		if !ok && !h.optional {
			return nil, fmt.Errorf("operation %s: %w: this kernel has no LSM hook %s; use a kernel built with CONFIG_SECURITY_NETWORK", o.name, ErrNotSupported, h.name)
		}
		if ok {
			names = append(names, h.name)
		}
	}
	return names, nil
}
