// Package compile turns a policy set into a generation of tables that the
// kernel programs read (bpf/abi.h). It is pure Go and decides nothing itself:
// every entry of the verdict tables comes from [policy.Resolve].
package compile

import (
	"errors"
	"fmt"

	"github.com/ebpfguard/ebpfguard/internal/bpf"
	"github.com/ebpfguard/ebpfguard/policy"
)

// ErrTooLarge is wrapped by the error for a policy set that does not fit into
// the tables.
var ErrTooLarge = errors.New("the policy set is too large")

// maxVerdicts bounds one operation's table of verdicts: 16 MiB.
const maxVerdicts = 1 << 22

// Rule names a rule of the policy set by its indices.
type Rule struct{ Policy, Rule int }

// Generation is a compiled policy set.
type Generation struct {
	Lines []bpf.Line
	// Rules are the rules by the index that a [bpf.Verdict] holds.
	Rules []Rule
}

// Program is what the path of a binary in a policy stands for.
type Program struct {
	// Paths are the absolute paths from which it may be started: the one in
	// the policy and, if that is a symbolic link, the one it leads to.
	Paths []string
	// Identity is the file, nil while there is none.
	Identity *Identity
}

// Options are what a policy set is compiled for.
type Options struct {
	// Number is the number of the generation, at least 1.
	Number uint32
	Key    Key
	// Resolve finds what a path in a policy stands for.
	Resolve func(path string) Program
}

// Compile compiles a valid policy set (see [policy.Validate]).
func Compile(set []policy.Policy, options Options) (*Generation, error) {
	rules, first := index(set)
	if len(rules) > bpf.MaxRules {
		return nil, fmt.Errorf("%w: %d rules; %d are possible, put the patterns of several rules into one", ErrTooLarge, len(rules), bpf.MaxRules)
	}
	// Line 0 describes the generation, line n operation n.
	var t tables
	t.words = make([]uint32, bpf.Operations*bpf.LineWords)
	classes := classify(set, options)
	t.set(0, bpf.Generation{
		Number:       options.Number,
		Subjects:     t.append(classes.entries()...),
		SubjectCount: uint32(len(classes.keys)),
		Everyone:     classEveryone,
		Unknown:      classes.unknown(),
	})
	sockets, err := compileSockets(set, policy.SocketBind, first, classes, &t)
	if err != nil {
		return nil, err
	}
	t.set(bpf.OperationSocketBind, sockets)
	return &Generation{Lines: t.lines(), Rules: rules}, nil
}

// index lists the rules of the set, and the index of each policy's first one.
func index(set []policy.Policy) (rules []Rule, first []int) {
	for i, p := range set {
		first = append(first, len(rules))
		for j := range p.Rules {
			rules = append(rules, Rule{i, j})
		}
	}
	return rules, first
}
