package ebpfguard

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/internal/procfs"
	"github.com/ebpfguard/ebpfguard/internal/terminal"
	"github.com/ebpfguard/ebpfguard/policy"
)

// Alert is what an operation's alert can do. Each operation has its own type,
// for instance [SocketBindAlert].
type Alert interface {
	json.Marshaler
	// Context returns what alerts of all operations have in common.
	Context() AlertContext
	// WithContext returns the alert with another context.
	WithContext(AlertContext) Alert
	// Object returns what the alert is about. Objects of the same type can be
	// compared by ==.
	Object() any
	// String returns the alert as a line of text.
	String() string
}

// AlertContext is what alerts of all operations have in common: the decision,
// and the process as it was when it asked.
type AlertContext struct {
	// ID is unique on this host until it is booted again.
	ID   string
	Time time.Time
	// Host is the name of the host. BootID changes with each boot.
	Host, BootID string
	// Sequence numbers the alerts for their receivers, from 1: a missing number
	// is a lost alert. 0 means that they are not numbered.
	Sequence uint64
	// Operation is what was decided about, Hook the LSM hook that asked.
	Operation policy.Operation
	Hook      string
	Verdict   policy.Verdict
	// Undecided means that the guard could not learn enough, and that a rule
	// with this verdict could have applied.
	Undecided bool
	// Policy is empty and Rule -1 when no rule decided.
	Policy   string
	Rule     int
	Message  string
	Severity policy.Severity
	Tags     []string
	// Revision is the number of the policy set that decided.
	Revision uint32
	// Count is how many identical alerts this one stands for. With more than
	// one, Time is the time of the first and Last that of the last of them.
	Count uint64
	Last  time.Time
	Process
}

// Process is the process that an alert is about.
type Process struct {
	// PID, TID and PPID are numbers of the initial pid namespace.
	PID, TID, PPID uint32
	// UID and GID are real ids of the initial user namespace.
	UID, GID uint32
	// Comm is the thread's name. The process may choose it.
	Comm string
	// Binary is the path of the program and ParentBinary that of the
	// parent's, each in its own mount namespace; empty for a kernel thread and
	// for a path of more than 64 components.
	Binary, ParentBinary string
	// CgroupID is the inode number of the cgroup (v2), Cgroup its path below
	// the cgroup mount; empty when the cgroup is gone or not visible.
	CgroupID uint64
	Cgroup   string
	// Namespaces are inode numbers, as in /proc/PID/ns.
	Namespaces Namespaces
	// Container is the container that the process is in, as far as somebody told of it
	// ([Manager.AddContainer]): the last one that it was found in; nil on the host. FirstContainer is
	// the one that it was in first, where that is another. Unidentified says that it
	// is in a container of which nothing is known.
	Container, FirstContainer *policy.Container
	Unidentified              bool
	// StartTime is when the process was forked, in nanoseconds of CLOCK_BOOTTIME;
	// with the PID it names the process until the next boot.
	StartTime uint64

	// What follows is empty without [Options.Enrich].

	// Args are the arguments that the program was started with, its own name
	// first: their first 1,024 bytes.
	Args []string
	// User is the name of UID on this system.
	User string
	// Unit is the unit of systemd, and ContainerID the container, that the
	// process belongs to by its cgroup.
	Unit, ContainerID string
	// Ancestors are those that the process descends from, the parent first, up to
	// 8. A parent that has ended is among them if it was known, although PPID is
	// then that of the process which took its place.
	Ancestors []Ancestor
}

// Ancestor is a process that the process of an alert descends from. What is not
// known is empty.
type Ancestor struct {
	PID       uint32   `json:"pid"`
	StartTime uint64   `json:"start_time,omitempty"`
	Binary    string   `json:"binary"`
	Args      []string `json:"args,omitempty"`
}

// Namespaces are the inode numbers of a process's namespaces.
type Namespaces struct {
	Mount   uint32 `json:"mnt"`
	PID     uint32 `json:"pid"`
	Network uint32 `json:"net"`
	User    uint32 `json:"user"`
}

// timeFormat is RFC 3339 with nanoseconds, always of the same width.
const timeFormat = "2006-01-02T15:04:05.000000000Z07:00"

// Context returns the context itself.
func (c AlertContext) Context() AlertContext { return c }

// processForm is a process as docs/alerts.md describes it.
type processForm struct {
	PID        uint32     `json:"pid"`
	TID        uint32     `json:"tid"`
	PPID       uint32     `json:"ppid"`
	UID        uint32     `json:"uid"`
	GID        uint32     `json:"gid"`
	Comm       string     `json:"comm"`
	Binary     string     `json:"binary"`
	Parent     string     `json:"parent"`
	Cgroup     string     `json:"cgroup"`
	CgroupID   uint64     `json:"cgroup_id"`
	Namespaces Namespaces `json:"namespaces"`
	StartTime  uint64     `json:"start_time,omitempty"`
	// What the kernel and the runtimes tell of the container.
	Container      *policy.Container `json:"container,omitempty"`
	FirstContainer *policy.Container `json:"first_container,omitempty"`
	Unidentified   bool              `json:"unidentified_container,omitempty"`
	Args           []string          `json:"args,omitempty"`
	User           string            `json:"user,omitempty"`
	Unit           string            `json:"unit,omitempty"`
	// ContainerID is what the path of the control group tells.
	ContainerID string     `json:"container_id,omitempty"`
	Ancestors   []Ancestor `json:"ancestors,omitempty"`
}

// alertForm is an alert as docs/alerts.md describes it; O is what its object is written from, or read
// to.
type alertForm[O any] struct {
	Time      string           `json:"time"`
	ID        string           `json:"id"`
	Host      string           `json:"host,omitempty"`
	BootID    string           `json:"boot_id,omitempty"`
	Sequence  uint64           `json:"sequence,omitempty"`
	Operation policy.Operation `json:"operation"`
	Hook      string           `json:"hook"`
	Verdict   string           `json:"verdict"`
	Undecided bool             `json:"undecided,omitempty"`
	Policy    string           `json:"policy"`
	Rule      int              `json:"rule"`
	Message   string           `json:"message,omitempty"`
	Severity  policy.Severity  `json:"severity,omitempty"`
	Tags      []string         `json:"tags,omitempty"`
	Revision  uint32           `json:"revision"`
	Errno     string           `json:"errno,omitempty"`
	Count     uint64           `json:"count"`
	Last      string           `json:"last,omitempty"`
	Process   processForm      `json:"process"`
	Object    O                `json:"object"`
}

// marshal returns the alert as JSON with the keys of docs/alerts.md.
func (c AlertContext) marshal(object any) ([]byte, error) {
	errno := ""
	if c.Verdict >= policy.Deny {
		errno = "EPERM"
	}
	last := ""
	if c.Count > 1 {
		last = c.Last.Format(timeFormat)
	}
	p := c.Process
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(alertForm[any]{
		c.Time.Format(timeFormat), c.ID, c.Host, c.BootID, c.Sequence, c.Operation, c.Hook, c.Verdict.String(), c.Undecided,
		c.Policy, c.Rule, c.Message, c.Severity, c.Tags, c.Revision, errno, max(c.Count, 1), last,
		processForm{
			p.PID, p.TID, p.PPID, p.UID, p.GID, p.Comm, p.Binary, p.ParentBinary, p.Cgroup, p.CgroupID, p.Namespaces,
			p.StartTime, p.Container, p.FirstContainer, p.Unidentified, p.Args, p.User, p.Unit, p.ContainerID, p.Ancestors,
		},
		object,
	})
	return terminal.EscapeJSON(bytes.TrimSuffix(buffer.Bytes(), []byte("\n"))), err
}

// text returns the alert as a line. What a process may choose is quoted if it
// holds anything but plain characters.
func (c AlertContext) text(object string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s %s by %s (pid %d, uid %d", c.Time.Format(timeFormat), c.Verdict, c.Operation, object,
		plain(c.Binary), c.PID, c.UID)
	if c.ParentBinary != "" {
		fmt.Fprintf(&b, ", started by %s", plain(c.ParentBinary))
	}
	switch {
	case c.Container != nil:
		fmt.Fprintf(&b, ", in container %s", plain(cmp.Or(c.Container.Name, c.Container.ID)))
		if p := c.Container.Pod; p != nil {
			fmt.Fprintf(&b, " of pod %s/%s", plain(p.Namespace), plain(p.Name))
		}
	case c.Unidentified:
		b.WriteString(", in an unidentified container")
	}
	b.WriteString(")")
	switch {
	case c.Policy != "":
		fmt.Fprintf(&b, ": policy %s rule %d", c.Policy, c.Rule)
	default:
		b.WriteString(": no rule")
	}
	if c.Undecided {
		b.WriteString(" (undecided: the guard could not find out enough)")
	}
	if c.Message != "" {
		fmt.Fprintf(&b, ": %s", plain(c.Message))
	}
	if c.Count > 1 {
		fmt.Fprintf(&b, " (%d times until %s)", c.Count, c.Last.Format(timeFormat))
	}
	return b.String()
}

func plain(s string) string {
	if s == "" {
		return "an unknown program"
	}
	if quoted := strconv.Quote(s); quoted != `"`+s+`"` {
		return quoted
	}
	return s
}

// location returns the path of an object as text.
func location(path string) string {
	if path == "" {
		return "an unknown path"
	}
	return plain(path)
}

// hookName returns the name of a hook by its enum hook_id (bpf/abi.h): that of
// the constant in small letters.
func hookName(id uint32) string { return abi.HookNames[id] }

// decode makes an alert from a record of the ring buffer.
func (m *Manager) decode(data []byte) (Alert, error) {
	var r record
	n, err := binary.Decode(data, binary.NativeEndian, &r.Alert)
	if err != nil {
		return nil, fmt.Errorf("decoding an alert of %d bytes: %w", len(data), err)
	}
	paths := data[n:]
	for _, p := range []struct {
		length uint16
		text   *string
	}{{r.BinaryLength, &r.binary}, {r.ParentLength, &r.parent}, {r.PathLength, &r.path}, {r.SourceLength, &r.source}} {
		if len(paths) < int(p.length) {
			return nil, fmt.Errorf("decoding an alert of %d bytes: its paths do not fit", len(data))
		}
		*p.text, paths = string(paths[:p.length]), paths[p.length:]
	}
	if r.ancestors = make([]abi.Ancestor, min(int(r.Ancestors), abi.MaxAncestors)); len(r.ancestors) > 0 {
		if _, err := binary.Decode(paths, binary.NativeEndian, r.ancestors); err != nil {
			return nil, fmt.Errorf("decoding the ancestors of an alert of %d bytes: %w", len(data), err)
		}
	}
	op := operationByID(r.Operation)
	if op == nil {
		return nil, fmt.Errorf("decoding an alert: unknown operation %d", r.Operation)
	}
	verdict := abi.Verdict(r.Verdict)
	c := AlertContext{
		ID:        fmt.Sprintf("%x-%x", r.Time, r.Tid),
		Time:      wallTime(r.Time),
		Host:      m.host,
		BootID:    m.bootID,
		Operation: op.name,
		Hook:      hookName(r.Hook),
		Verdict:   policy.Verdict(verdict.Verdict()),
		Undecided: verdict.Undecided(),
		Rule:      -1,
		Revision:  r.Revision,
		Count:     1,
		Process: Process{
			PID: r.Pid, TID: r.Tid, PPID: r.Ppid, StartTime: r.Start, UID: r.Uid, GID: r.Gid,
			Comm:         cString(r.Comm[:]),
			Binary:       r.binary,
			ParentBinary: r.parent,
			CgroupID:     r.Cgroup,
			Cgroup:       m.cgroups.path(r.Cgroup),
			Namespaces:   Namespaces{Mount: r.MntNs, PID: r.PidNs, Network: r.NetNs, User: r.UserNs},
		},
	}
	c.Container, c.FirstContainer, c.Unidentified = m.containers.describe(r.FirstContainer, r.LastContainer)
	if m.enrichment != nil {
		m.enrichment.describe(&c.Process, r)
	}
	if p, rule, ok := m.history.rule(r.Revision, verdict.Rule()); ok {
		c.Policy, c.Rule = p.Name, rule
		c.Message, c.Severity, c.Tags = p.Rules[rule].Message, p.Rules[rule].Severity, p.Rules[rule].Tags
	}
	return op.alert(c, r), nil
}

// cString returns the text before the first zero.
func cString(b []byte) string {
	text, _, _ := bytes.Cut(b, []byte{0})
	return string(text)
}

// wallTime converts nanoseconds of CLOCK_BOOTTIME.
func wallTime(boot uint64) time.Time {
	now, err := procfs.BootTime()
	if err != nil {
		return time.Now() // cannot fail: the clock exists since 2.6.39
	}
	return time.Now().Add(time.Duration(boot) - time.Duration(now)).UTC()
}
