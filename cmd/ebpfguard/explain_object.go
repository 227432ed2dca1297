package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/ebpfguard/ebpfguard/policy"
)

// objectFlags describe the object of an operation.
type objectFlags struct {
	path        string
	aliases     []string
	unknownPath bool
	access      []string

	fileless, noArgs bool

	source, target, fsType string
	flags                  []string

	fromUID, fromGID, toUID, toGID string

	address   string
	port      string
	automatic string
	protocol  string
	dualStack bool
}

// The operations by what they are about.
var (
	pathOperations   = []policy.Operation{policy.FileOpen, policy.BprmCheckSecurity}
	mountOperations  = []policy.Operation{policy.SbMount, policy.SbRemount, policy.SbUmount}
	socketOperations = []policy.Operation{policy.SocketBind, policy.SocketConnect}
)

// objectFlagOwners are the operations that a flag is for.
var objectFlagOwners = map[string][]policy.Operation{
	"path": pathOperations, "alias": slices.Concat(pathOperations, mountOperations), "unknown-path": slices.Concat(pathOperations, mountOperations),
	"access":   {policy.FileOpen},
	"fileless": {policy.BprmCheckSecurity}, "no-args": {policy.BprmCheckSecurity},
	"source": {policy.SbMount, policy.SbRemount}, "target": mountOperations, "type": mountOperations, "flags": mountOperations,
	"from-uid": {policy.TaskFixSetuid}, "from-gid": {policy.TaskFixSetuid}, "to-uid": {policy.TaskFixSetuid}, "to-gid": {policy.TaskFixSetuid},
	"address": socketOperations, "port": socketOperations, "protocol": socketOperations,
	"automatic": {policy.SocketBind}, "dual-stack": {policy.SocketBind},
}

// ownersOf returns the operations that a flag is for; nil for one that is not
// about the object.
func ownersOf(flag string) []policy.Operation { return objectFlagOwners[flag] }

func (o *objectFlags) add(f *pflag.FlagSet) {
	f.StringVar(&o.path, "path", "", "file, program: its `path`; an empty one for what has none")
	f.StringArrayVar(&o.aliases, "alias", nil, "file, program, mount: another `path` of the same file, or of the target (can be repeated)")
	f.BoolVar(&o.unknownPath, "unknown-path", false, "file, program, mount: the path cannot be found out")
	f.StringSliceVar(&o.access, "access", []string{"read"}, "file: the `kinds` of access: read, write, exec")
	f.BoolVar(&o.fileless, "fileless", false, "program: no file of the system holds it")
	f.BoolVar(&o.noArgs, "no-args", false, "program: it is started without even an argv[0]")
	f.StringVar(&o.source, "source", "", "mount: the `device` or directory that is mounted, as the process names it")
	f.StringVar(&o.target, "target", "", "mount: the `path` where it is mounted; an empty one for a mount that is nowhere yet")
	f.StringVar(&o.fsType, "type", "", "mount: the `type` of the file system; by default one that no policy names")
	f.StringSliceVar(&o.flags, "flags", nil, "mount: its `flags`, such as bind or new,ro,nosuid; of what is new, rw, suid, dev and exec unless told otherwise")
	f.StringVar(&o.fromUID, "from-uid", "", "change of identity: the effective user before, a `name` or number; by default --uid")
	f.StringVar(&o.fromGID, "from-gid", "", "change of identity: the effective group before, a `name` or number; by default the number of the user before")
	f.StringVar(&o.toUID, "to-uid", "", "change of identity: the user after, a `name` or number")
	f.StringVar(&o.toGID, "to-gid", "", "change of identity: the group after, a `name` or number")
	f.StringVar(&o.address, "address", "0.0.0.0", "socket: the local `address` to bind, the remote one to connect to")
	f.StringVar(&o.port, "port", "", "socket: its `port`; to bind, 0, the default, is a port that the kernel chooses")
	f.StringVar(&o.automatic, "automatic", policy.DefaultAutomatic.String(), "socket: the `ports` from which the kernel chooses")
	f.StringVar(&o.protocol, "protocol", policy.TCP.String(), "socket: its `protocol`: tcp, udp, udplite, sctp, dccp, icmp, raw or other")
	f.BoolVar(&o.dualStack, "dual-stack", false, "socket: at :: it takes IPv4 as well")
}

// object returns the object of the operation that the flags describe.
func (o *objectFlags) object(operation policy.Operation, given *pflag.FlagSet, p policy.Process, users, groups func(string) (uint32, error)) (policy.Object, error) {
	if err := o.complete(operation, given); err != nil {
		return nil, err
	}
	switch operation {
	case policy.FileOpen:
		return o.file()
	case policy.BprmCheckSecurity:
		names, err := o.names("path", o.path)
		return policy.Program{Names: names, Fileless: o.fileless, NoArgs: o.noArgs}, err
	case policy.SbMount, policy.SbRemount, policy.SbUmount:
		return o.mount(operation)
	case policy.TaskFixSetuid:
		return o.credentials(p, users, groups)
	case policy.SocketBind, policy.SocketConnect:
		return o.socket()
	}
	return nil, fmt.Errorf("operation %s cannot be explained", operation)
}

// complete tells which flag is missing without which nothing is asked.
func (o *objectFlags) complete(operation policy.Operation, given *pflag.FlagSet) error {
	missing := func(flag, example string) error {
		return fmt.Errorf("--%s is missing, which %s is about; write one such as %s", flag, operation, example)
	}
	switch operation {
	case policy.FileOpen:
		if !given.Changed("path") && !o.unknownPath && len(o.aliases) == 0 {
			return missing("path", pathExamples["path"])
		}
	case policy.BprmCheckSecurity:
		if !given.Changed("path") && !o.unknownPath && len(o.aliases) == 0 && !o.fileless {
			return missing("path", "/usr/bin/bash, or --fileless")
		}
	case policy.SbMount, policy.SbRemount, policy.SbUmount:
		if !given.Changed("target") && !o.unknownPath && len(o.aliases) == 0 {
			return missing("target", pathExamples["target"])
		}
	case policy.TaskFixSetuid:
		if given.Changed("to-uid") == given.Changed("to-gid") {
			return errors.New("give one of --to-uid and --to-gid: each id that changes is judged for itself")
		}
	case policy.SocketConnect:
		if !given.Changed("address") {
			return missing("address", "192.0.2.1")
		}
		if protocol, err := parseProtocol(o.protocol); err == nil && protocol.HasPorts() && !given.Changed("port") {
			return missing("port", "443")
		}
	}
	return o.completeSocket(operation, given)
}

// completeSocket tells which flag means nothing for such a socket.
func (o *objectFlags) completeSocket(operation policy.Operation, given *pflag.FlagSet) error {
	if !slices.Contains(socketOperations, operation) {
		return nil
	}
	if protocol, err := parseProtocol(o.protocol); err == nil && !protocol.HasPorts() {
		for _, flag := range []string{"port", "automatic"} {
			if given.Changed(flag) {
				return fmt.Errorf("--%s is not about %v, which has no ports; leave it out", flag, protocol)
			}
		}
	}
	if address, err := netip.ParseAddr(o.address); err == nil && address.Is4() && o.dualStack {
		return fmt.Errorf("--dual-stack is not about the IPv4 address %v; write --address :: or leave it out", address)
	}
	return nil
}

// names returns the names of a file or target.
func (o *objectFlags) names(flag, path string) (policy.Names, error) {
	n := policy.Names{Path: path, Aliases: o.aliases, Unknown: o.unknownPath}
	if err := checkPath(flag, path); err != nil {
		return n, err
	}
	for _, alias := range o.aliases {
		if err := checkPath("alias", alias); err != nil {
			return n, err
		}
	}
	return n, nil
}

func (o *objectFlags) file() (policy.Object, error) {
	names, err := o.names("path", o.path)
	if err != nil {
		return nil, err
	}
	file := policy.File{Names: names}
	for _, name := range o.access {
		access, err := policy.ParseAccess(name)
		if err != nil {
			return nil, fmt.Errorf("--access: %w", err)
		}
		file.Access |= access
	}
	if file.Access == 0 {
		return nil, errors.New("--access names nothing; write read, write or exec")
	}
	return file, nil
}

// mountKinds tell what kind of mount it is; optionPairs are the options that a
// file system or mount has one of, the default first.
const mountKinds = policy.MountNew | policy.MountBind | policy.MountMove | policy.MountShared | policy.MountPrivate |
	policy.MountSlave | policy.MountUnbindable | policy.MountPivot

var optionPairs = [][2]policy.MountFlags{
	{policy.MountReadWrite, policy.MountReadOnly}, {policy.MountSUID, policy.MountNoSUID},
	{policy.MountDev, policy.MountNoDev}, {policy.MountExec, policy.MountNoExec},
}

func (o *objectFlags) mount(operation policy.Operation) (policy.Object, error) {
	names, err := o.names("target", o.target)
	if err != nil {
		return nil, err
	}
	m := policy.Mount{Source: o.source, Target: names, Type: o.fsType}
	possible := policy.MountFlagsOf(operation)
	if operation == policy.SbUmount {
		possible |= policy.MountFlagsOf(policy.SbRemount) // those that the mount has
	}
	for _, name := range o.flags {
		flag, err := policy.ParseMountFlag(name)
		if err != nil {
			return nil, fmt.Errorf("--flags: %w", err)
		}
		if flag&possible == 0 {
			return nil, fmt.Errorf("--flags: %s has no flag %v; its flags are %v", operation, flag, possible)
		}
		m.Flags |= flag
	}
	if operation == policy.SbMount && m.Flags&mountKinds == 0 {
		m.Flags |= policy.MountNew
	}
	if operation == policy.SbUmount || operation == policy.SbMount && m.Flags&policy.MountNew == 0 {
		return m, nil // has no options of its own
	}
	for _, pair := range optionPairs {
		if m.Flags&(pair[0]|pair[1]) == 0 {
			m.Flags |= pair[0]
		}
	}
	return m, nil
}

func (o *objectFlags) credentials(p policy.Process, users, groups func(string) (uint32, error)) (policy.Object, error) {
	c := policy.Credentials{FromUID: p.UID, Group: o.toGID != ""}
	var err error
	if o.fromUID != "" {
		if c.FromUID, err = parseID("from-uid", o.fromUID, users); err != nil {
			return nil, err
		}
	}
	c.FromGID = c.FromUID
	if o.fromGID != "" {
		if c.FromGID, err = parseID("from-gid", o.fromGID, groups); err != nil {
			return nil, err
		}
	}
	if c.Group {
		c.To, err = parseID("to-gid", o.toGID, groups)
	} else {
		c.To, err = parseID("to-uid", o.toUID, users)
	}
	return c, err
}

// parseID returns the id of a flag: a number, or a name of this machine.
func parseID(flag, text string, lookup func(string) (uint32, error)) (uint32, error) {
	id, err := strconv.ParseUint(text, 10, 32)
	switch {
	case err == nil && id <= policy.MaxID:
		return uint32(id), nil
	case text == "" || strings.Trim(text, "0123456789") == "":
		return 0, fmt.Errorf("--%s %q is no id; write a name or a number up to %d", flag, text, uint32(policy.MaxID))
	}
	found, err := lookup(text)
	if errors.Is(err, policy.ErrUnknownName) {
		return 0, fmt.Errorf("--%s %q %w on this machine; write its number", flag, text, policy.ErrUnknownName)
	}
	if err != nil {
		return 0, fmt.Errorf("--%s: %w; write its number", flag, err)
	}
	return found, nil
}

func (o *objectFlags) socket() (policy.Object, error) {
	address, err := netip.ParseAddr(o.address)
	if err != nil {
		return nil, fmt.Errorf("--address %q is no address; write one such as 10.0.0.1 or ::1", o.address)
	}
	protocol, err := parseProtocol(o.protocol)
	if err != nil {
		return nil, fmt.Errorf("--protocol: %w", err)
	}
	port, err := parsePort(o.port)
	if err != nil {
		return nil, err
	}
	automatic, err := parseRange(o.automatic)
	if err != nil {
		return nil, err
	}
	return policy.Socket{Address: address, Port: port, Automatic: automatic, Protocol: protocol, DualStack: o.dualStack}, nil
}

// parseProtocol is [policy.ParseProtocol] for an object, which may be of a
// protocol that no policy can name.
func parseProtocol(name string) (policy.Protocol, error) {
	if name == policy.OtherProtocol.String() {
		return policy.OtherProtocol, nil
	}
	return policy.ParseProtocol(name)
}

// parsePort returns the port of --port, 0 if none is given.
func parsePort(text string) (uint16, error) {
	const remedy = "write a number from 0 to 65535"
	port, err := strconv.ParseUint(text, 10, 16)
	switch {
	case text == "":
		return 0, nil
	case errors.Is(err, strconv.ErrRange):
		return 0, fmt.Errorf("--port %s is too great; %s", text, remedy)
	case err != nil:
		return 0, fmt.Errorf("--port %q is no port; %s", text, remedy)
	}
	return uint16(port), nil
}

func parseRange(s string) (policy.PortRange, error) {
	first, last, ok := strings.Cut(s, "-")
	if !ok {
		last = first
	}
	a, err1 := strconv.ParseUint(first, 10, 16)
	b, err2 := strconv.ParseUint(last, 10, 16)
	if err1 != nil || err2 != nil || a == 0 || a > b {
		return policy.PortRange{}, fmt.Errorf("--automatic %q is no range of ports; write one such as %v", s, policy.DefaultAutomatic)
	}
	return policy.PortRange{First: uint16(a), Last: uint16(b)}, nil
}
