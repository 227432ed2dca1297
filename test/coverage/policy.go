package coverage

import (
	"regexp"
	"slices"
	"strings"
)

// Policies are the texts under which the ways run, one set per group of ways. The subject is the actor and all that it
// starts, so that the parent and everyone else stay free.
//
// ACTOR stands for the actor's program. EACH:object/name stands for name in the directory of each way with that
// object. Denying the ways' own paths, not a pattern for all, keeps the rules of the kind that people write: an exact path, a
// directory, a glob.
var policies = []struct {
	operation Operation
	objects   []string
	text      string
}{
	{FileOpen, []string{"exact", "deep", "tree", "dir", "glob", "future", "read", "write", "exec", "wild", "unread", "made"}, `
- operation: file_open
  deny:
  # exact: a file that exists. deep: the same, two directories down, whose parents ways rename.
  - {paths: [EACH:exact/secret, EACH:deep/up/down/secret]}
  # tree: a file below a protected directory. dir: that directory itself.
  - {paths: [EACH:tree/tree/, EACH:dir/tree/]}
  - {paths: [EACH:glob/glob/*.key]}
  # future: nothing has the name when the policy is applied.
  - {paths: [EACH:future/future]}
  - {paths: [EACH:read/secret], access: [read]}
  - {paths: [EACH:write/secret], access: [write]}
  - {paths: [EACH:exec/secret], access: [exec]}
  # wild: known by its name alone, and forbidden to read. unread: a directory that may not be read. made: nothing has
  # the name, and a directory may bring it along.
  - {paths: [EACH:wild/home/*/box/id_*], access: [read]}
  - {paths: [EACH:unread/tree/], access: [read]}
  - {paths: [EACH:made/home/*/box/id_*], access: [write]}
`},
	// Descriptors that were opened before the policy came.
	{FileOpen, []string{"revoke"}, `
- operation: file_open
  revoke: true
  deny: {paths: [EACH:revoke/secret]}
`},
	{BprmCheck, []string{"program", "tree", "glob", "fileless", "no_args"}, `
- operation: bprm_check_security
  deny:
  - {paths: [EACH:program/secret, EACH:tree/tree/, EACH:glob/glob/*.bin]}
  - {fileless: true}
  - {no_args: true}
`},
	// Only what is named may start.
	{BprmCheck, []string{"unlisted"}, `
- operation: bprm_check_security
  allow: {paths: [EACH:unlisted/public, EACH:unlisted/open/, ACTOR]}
  deny: all
`},
	{SBMount, []string{"target", "tree", "type", "source", "flags", "pivot", "ro", "rw", "suid", "dev", "exec", "noatime", "sync"}, `
- operation: sb_mount
  deny:
  - {targets: [EACH:target/secret, EACH:tree/tree/]}
  - {targets: [EACH:type/mnt], types: [ramfs]}
  - {sources: [EACH:source/secret]}
  - {targets: [EACH:flags/mnt], flags: [exec]}
  - {targets: [EACH:pivot/secret], flags: [pivot]}
  - {targets: [EACH:ro/secret], flags: [ro]}
  - {targets: [EACH:rw/secret], flags: [rw]}
  - {targets: [EACH:suid/secret], flags: [suid]}
  - {targets: [EACH:dev/secret], flags: [dev]}
  - {targets: [EACH:exec/secret], flags: [exec]}
  - {targets: [EACH:noatime/secret], flags: [noatime]}
  - {targets: [EACH:sync/secret], flags: [sync]}
`},
	// What is named may be read-only only.
	{SBMount, []string{"only"}, `
- operation: sb_mount
  allow: {targets: [EACH:only/secret], flags: [ro]}
  deny: {targets: [EACH:only/secret]}
`},
	{SBRemount, []string{"target", "tree", "flags", "ro", "rw", "suid", "dev", "exec", "noatime", "sync"}, `
- operation: sb_remount
  deny:
  - {targets: [EACH:target/secret, EACH:tree/tree/]}
  - {targets: [EACH:flags/mnt], flags: [rw]}
  - {targets: [EACH:ro/secret], flags: [ro]}
  - {targets: [EACH:rw/secret], flags: [rw]}
  - {targets: [EACH:suid/secret], flags: [suid]}
  - {targets: [EACH:dev/secret], flags: [dev]}
  - {targets: [EACH:exec/secret], flags: [exec]}
  - {targets: [EACH:noatime/secret], flags: [noatime]}
  - {targets: [EACH:sync/secret], flags: [sync]}
`},
	{SBRemount, []string{"only"}, `
- operation: sb_remount
  allow: {targets: [EACH:only/secret], flags: [ro]}
  deny: {targets: [EACH:only/secret]}
`},
	{SBUmount, []string{"target", "tree", "flags"}, `
- operation: sb_umount
  deny:
  - {targets: [EACH:target/secret, EACH:tree/tree/]}
  - {targets: [EACH:flags/mnt], flags: [detach]}
`},
	{TaskFixSetuid, []string{"id"}, `
- operation: task_fix_setuid
  deny:
  - {to: {uids: [0, 4242]}}
  - {to: {gids: [0, 4242]}}
`},
	// Ports 20000 to 29999 are those that the protected ways take; address ways use others.
	{SocketBind, []string{"port", "protocol"}, `
- operation: socket_bind
  deny:
  - {ports: [20000-29999]}
  - {ports: [15000-15999], protocols: [udp]}
`},
	// By itself, since every unspecified address stands for these as well.
	{SocketBind, []string{"address"}, `
- operation: socket_bind
  deny: {addresses: [127.0.42.0/24, "fd42::/16"]}
`},
	{SocketConnect, []string{"port", "address", "protocol"}, `
- operation: socket_connect
  deny:
  - {ports: [20000-29999]}
  - {addresses: [127.0.42.0/24]}
  - {ports: [15000-15999], protocols: [udp]}
`},
	// By itself, since the other ways connect there.
	{SocketConnect, []string{"loopback"}, `
- operation: socket_connect
  deny: {addresses: [127.0.0.1]}
`},
	// Sockets that were open before the policy came.
	{SocketBind, []string{"open"}, `
- operation: socket_bind
  revoke: true
  deny: {ports: [20000-29999]}
`},
	{SocketConnect, []string{"open"}, `
- operation: socket_connect
  revoke: true
  deny: {ports: [20000-29999]}
`},
}

const header = `apiVersion: ebpfguard.io/v1alpha1
kind: Policy
metadata: {name: coverage}
spec:
  subject: {binaries: [ACTOR], descendants: true}
  rules:
`

// defaultObject is the rule that protects a way which names none.
var defaultObject = map[Operation]string{
	FileOpen: "exact", BprmCheck: "program", SBMount: "target", SBRemount: "target", SBUmount: "target", TaskFixSetuid: "id",
	SocketBind: "port", SocketConnect: "port",
}

var placeholder = regexp.MustCompile(`EACH:(\w+)/([^\s,\]]+)`)

// expand makes a policy of its text. dirs returns the directories of the ways with an object.
func expand(text, actor string, dirs func(object string) []string) string {
	text = placeholder.ReplaceAllStringFunc(text, func(match string) string {
		parts := placeholder.FindStringSubmatch(match)
		var paths []string
		for _, dir := range dirs(parts[1]) {
			paths = append(paths, dir+"/"+parts[2])
		}
		if len(paths) == 0 {
			// A path that nobody uses, so that a selection of ways still makes a valid policy.
			return "/nonexistent/" + parts[1] + "/" + parts[2]
		}
		return strings.Join(paths, ", ")
	})
	var b strings.Builder
	b.WriteString(header)
	for line := range strings.Lines(strings.TrimPrefix(text, "\n")) {
		b.WriteString("  " + line)
	}
	return strings.ReplaceAll(b.String(), "ACTOR", actor)
}

// groupOf returns the number of the policy under which a way runs, or -1.
func groupOf(w Way) int {
	for i, p := range policies {
		if p.operation == w.Operation && slices.Contains(p.objects, w.Object) {
			return i
		}
	}
	return -1
}
