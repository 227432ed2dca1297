//go:build vm

package differential

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

var someIDs = []uint32{0, 1, 10, 1000, 1001, 65534, policy.MaxID}

const unchanged = ^uint32(0)

// identities returns new real, effective and saved ids, and the questions about
// those that change.
func (c *comparison) identities(p *player, before [3]uint32, group bool) (after [3]uint32, asked []question) {
	for i := range after {
		after[i] = choose(c, append(someIDs, unchanged)...)
	}
	if c.r.IntN(3) == 0 {
		after = [3]uint32{after[0], after[0], after[0]}
	}
	var changed []uint32
	for i, id := range after {
		if id != unchanged && id != before[i] && !slices.Contains(changed, id) {
			changed = append(changed, id)
			asked = append(asked, p.becomes(id, group))
		}
	}
	return after, asked
}

func (p *player) becomes(id uint32, group bool) question {
	return question{operation: policy.TaskFixSetuid, object: policy.Credentials{FromUID: p.euid, FromGID: p.egid, To: id, Group: group}}
}

func (c *comparison) setuid(p *player) (trial, bool) {
	after, asked := c.identities(p, [3]uint32{p.uid, p.euid, p.suid}, false)
	return identityTrial("setresuid", asked, func(b *guardtest.Batch) int {
		return b.Call(unix.SYS_SETRESUID, uintptr(after[0]), uintptr(after[1]), uintptr(after[2]))
	})
}

func (c *comparison) setgid(p *player) (trial, bool) {
	after, asked := c.identities(p, [3]uint32{p.gid, p.egid, p.sgid}, true)
	return identityTrial("setresgid", asked, func(b *guardtest.Batch) int {
		return b.Call(unix.SYS_SETRESGID, uintptr(after[0]), uintptr(after[1]), uintptr(after[2]))
	})
}

func (c *comparison) setgroups(p *player) (trial, bool) {
	var groups []uint32
	for range c.r.IntN(4) {
		groups = append(groups, choose(c, someIDs...))
	}
	slices.Sort(groups)
	groups = slices.Compact(groups)
	var asked []question
	var list []byte
	for _, g := range groups {
		asked = append(asked, p.becomes(g, true))
		list = binary.LittleEndian.AppendUint32(list, g)
	}
	if !c.hasHook("task_fix_setgroups") {
		asked = nil
	}
	return identityTrial("setgroups", asked, func(b *guardtest.Batch) int {
		return b.Call(unix.SYS_SETGROUPS, uintptr(len(groups)), b.Bytes(list))
	})
}

// identityTrial is made by a child, which takes its identity with it.
func identityTrial(what string, asked []question, add func(*guardtest.Batch) int) (trial, bool) {
	return trial{what: what, asked: asked, make: add, byChild: true}, true
}
