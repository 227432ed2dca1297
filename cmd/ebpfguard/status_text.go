package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/internal/duration"
)

// What status prints fits a terminal, with a line for the prompt.
const (
	statusLines = 23
	statusWidth = 80
	// problemLines are for all problems, of which it shows so many.
	problemLines  = 6
	shownProblems = 3
	// hottest is how many rules it shows if there is room.
	hottest = 5
)

// statusText is a status in words. It shows all, or what fits a terminal.
type statusText struct {
	status *pb.StatusResponse
	now    time.Time
	all    bool

	lines []string
	left  []string // what is left out
}

func describeStatus(s *pb.StatusResponse, now time.Time, all bool) string {
	t := &statusText{status: s, now: now, all: all}
	t.add(headline(s))
	if s.State == pb.StatusResponse_STATE_STARTING {
		t.add("", fmt.Sprintf("daemon    up %s, pid %d", t.since(s.Started.AsTime()), s.Pid))
		return t.String()
	}
	t.problems()
	if u := s.Unconfirmed; u != nil {
		t.add(fmt.Sprintf("  ? the change is taken back in %s; keep it with 'ebpfguard confirm'", duration.Rough(u.Left.AsDuration())))
	}
	t.add("")
	t.facts()
	t.operations()
	t.rules()
	if all {
		t.outputs()
		t.sources()
	}
	return t.String()
}

func (t *statusText) add(lines ...string) { t.lines = append(t.lines, lines...) }

// String returns the lines, and says what is left out.
func (t *statusText) String() string {
	if !t.all {
		long := false
		for i, line := range t.lines {
			t.lines[i] = truncate(line, statusWidth)
			long = long || strings.HasSuffix(t.lines[i], "…")
		}
		if long {
			t.left = append(t.left, "ends of lines")
		}
	}
	if len(t.left) > 0 {
		t.add(fmt.Sprintf("not shown: %s (ebpfguard status --all)", strings.Join(t.left, ", ")))
	}
	return strings.Join(t.lines, "\n") + "\n"
}

// number writes a number: in a terminal's columns, or exactly.
func (t *statusText) number(n uint64) string {
	if t.all {
		return number(n)
	}
	return short(n)
}

func (t *statusText) since(at time.Time) string { return duration.Rough(t.now.Sub(at)) }

// headline says how it is, in one line.
func headline(s *pb.StatusResponse) string {
	what := fmt.Sprintf("%s, %s, %s", many(s.Policies, "policy", "policies"), many(s.Rules, "rule", "rules"),
		many(s.Mitigations, "mitigation", "mitigations"))
	switch s.State {
	case pb.StatusResponse_STATE_ENFORCING:
		if s.Policies == 0 {
			return "ENFORCING  nothing: there are no policies; add one with 'ebpfguard apply FILE'"
		}
		return "ENFORCING  " + what
	case pb.StatusResponse_STATE_STARTING:
		return "STARTING   the daemon loads its policies; what was pinned before is in force"
	case pb.StatusResponse_STATE_DEGRADED:
		return fmt.Sprintf("DEGRADED   %s; still enforcing %s", many(len(s.Problems), "problem", "problems"), what)
	}
	return "UNKNOWN    this command does not know the daemon's state; is the daemon newer?"
}

// describeNotRunning says that no daemon runs, and what to do.
func describeNotRunning(err error) string {
	what, todo, _ := strings.Cut(strings.TrimPrefix(err.Error(), "status: "), "; ")
	return "NOT RUNNING  " + printable(what) + "\n" + wrapFrom("! ", printable(todo)) + "\n" +
		wrapFrom("! ", "policies that a daemon pinned stay in force; 'ebpfguard down' ends them") + "\n"
}

func (t *statusText) problems() {
	shown := t.status.Problems
	if more := len(shown) - shownProblems; more > 0 && !t.all {
		shown = shown[:shownProblems]
		t.left = append(t.left, many(more, "problem", "problems"))
	}
	room := problemLines
	if t.hasContainers() {
		room-- // there is a fact more
	}
	room /= max(len(shown), 1)
	for _, problem := range shown {
		lines := strings.Split(wrapFrom("! ", printable(problem)), "\n")
		if len(lines) > room && !t.all {
			lines = append(lines[:room-1], truncate(lines[room-1], statusWidth-1)+"…")
		}
		t.add(lines...)
	}
}

func (t *statusText) facts() {
	s := t.status
	width := len("policies  ")
	if t.hasContainers() || t.all && s.Containers != nil {
		width = len("containers  ")
	}
	fact := func(name, format string, args ...any) {
		t.add(fmt.Sprintf("%-*s", width, name) + printable(fmt.Sprintf(format, args...)))
	}
	since := ""
	if s.Applied.IsValid() {
		since = ", in force for " + t.since(s.Applied.AsTime())
	}
	up := fmt.Sprintf("up %s, pid %d, memory %s", t.since(s.Started.AsTime()), s.Pid, size(s.ResidentBytes))
	policies := cmp.Or(s.PolicyDirectory, "no directory; only applied policies")
	version := cmp.Or(s.Version, "unknown")
	fact("revision", "%d%s", s.Revision, since)
	if !t.all {
		version, _, _ = strings.Cut(version, ",")
		fact("daemon", "%s, version %s", up, version)
		fact("policies", "%s", policies)
		if s.PinPath == "" {
			fact("pins", "none: enforcement ends with the daemon")
		}
		fact("alerts", "%s", t.alerts())
		if t.hasContainers() {
			fact("containers", "%s", t.containers())
		}
		return
	}
	fact("daemon", "%s", up)
	if s.Adopted {
		fact("", "it took over from a previous daemon")
	}
	fact("version", "%s", version)
	fact("host", "%s, boot %s", cmp.Or(s.Host, "unknown"), cmp.Or(s.BootId, "unknown"))
	fact("policies", "%s", policies)
	fact("pins", "%s", cmp.Or(s.PinPath, "none: enforcement ends with the daemon"))
	fact("alerts", "kernel: %s", t.sent())
	fact("", "daemon: %s read, %s folded into others, last number %s",
		number(s.GetAlerts().GetRead()), number(s.GetAlerts().GetFolded()), number(s.GetAlerts().GetSequence()))
	if c := s.Containers; c != nil {
		fact("containers", "%s", t.containers())
		fact("", "a container that cannot be told of: %s", map[string]string{"open": "starts (fail: open)", "closed": "does not start (fail: closed)"}[c.Fail])
		for _, cgroup := range c.UnidentifiedCgroups {
			fact("", "unidentified: %s", cgroup)
		}
	}
}

// hasContainers reports whether there is something about containers to tell in short.
func (t *statusText) hasContainers() bool {
	c := t.status.GetContainers()
	return c.GetKnown() > 0 || c.GetUnidentified() > 0 || c.GetConcerned()
}

// containers says how many containers are known, and by whom.
func (t *statusText) containers() string {
	c := t.status.GetContainers()
	text := fmt.Sprintf("%s known, %s unidentified", number(c.Known), number(c.Unidentified))
	var sources []string
	for _, s := range c.Sources {
		switch {
		case !s.Connected && (s.Problem != "" || s.Containers > 0):
			sources = append(sources, s.Name+" (not connected)")
		case s.Containers > 0:
			sources = append(sources, s.Name)
		}
	}
	if len(sources) == 0 {
		return text + "; nobody tells of any yet"
	}
	return text + "; told by " + strings.Join(sources, ", ")
}

// sources adds a table of the sources of containers, and one of what was decided in containers.
func (t *statusText) sources() {
	c := t.status.GetContainers()
	rows := [][]string{{"SOURCE", "CONTAINERS", "CONNECTED", "TELLS", "PROBLEM"}}
	for _, s := range c.GetSources() {
		connected, tells := "no", "after the start"
		if s.Connected {
			connected = "yes"
		}
		if s.Early {
			tells = "before the start"
		}
		rows = append(rows, []string{s.Name, number(s.Containers), connected, tells, cmp.Or(s.Problem, "-")})
	}
	if len(rows) > 1 {
		t.add("")
		t.add(tableLines([]int{1}, rows...)...)
	}
	rows = [][]string{{"AUDITED", "DENIED", "KILLED", "IN CONTAINERS"}}
	for _, n := range c.GetCounters() {
		rows = append(rows, []string{number(n.Audited), number(n.Denied), number(n.Killed), containerLabel(n)})
	}
	if len(rows) > 1 {
		t.add("")
		t.add(tableLines([]int{0, 1, 2}, rows...)...)
		if c.Others > 0 {
			t.add(fmt.Sprintf("%s more in other containers", number(c.Others)))
		}
	}
}

// containerLabel names the containers that count together.
func containerLabel(c *pb.ContainerCounters) string {
	switch {
	case c.Name == "":
		return "(unidentified)"
	case c.Namespace != "":
		return c.Namespace + "/" + c.Name
	}
	return c.Name
}

// sent says what became of the alerts in the kernel.
func (t *statusText) sent() string {
	var is sums
	is.add(t.status)
	return fmt.Sprintf("%s sent, %s lost, %s limited", t.number(is.alerts), t.number(is.lost), t.number(is.limited))
}

// alerts is sent, and in a few words what became of the alerts then.
func (t *statusText) alerts() string {
	sinks := t.status.GetAlerts().GetSinks()
	if len(sinks) == 0 {
		return t.sent() + "; no outputs, see 'ebpfguard alerts'"
	}
	var dropped uint64
	for _, k := range sinks {
		dropped += k.Dropped
	}
	return fmt.Sprintf("%s; %s, %s dropped", t.sent(), count(len(sinks), "output", "outputs"), t.number(dropped))
}

// operations adds two tables if all is wanted: one would be too wide for a terminal.
func (t *statusText) operations() {
	decided := [][]string{{"OPERATION", "ALLOWED", "AUDITED", "DENIED", "KILLED", "UNDECIDED"}}
	alerts := [][]string{{"ALERTS OF", "SENT", "LOST", "LIMITED"}}
	for _, o := range t.status.Operations {
		name := o.Operation
		if !o.Attached {
			name += " (off)"
		}
		decided = append(decided, []string{name, t.number(o.Allowed), t.number(o.Audited), t.number(o.Denied), t.number(o.Killed), t.number(o.Undecided)})
		if o.Alerts+o.AlertsLost+o.AlertsLimited > 0 {
			alerts = append(alerts, []string{o.Operation, number(o.Alerts), number(o.AlertsLost), number(o.AlertsLimited)})
		}
	}
	t.add("")
	if len(decided) == 1 {
		t.add("nothing was counted: no policy has rules yet")
		return
	}
	t.add(tableLines([]int{1, 2, 3, 4, 5}, decided...)...)
	if !t.all {
		return
	}
	t.add("what no pattern matches is allowed and not counted")
	if len(alerts) > 1 {
		t.add("")
		t.add(tableLines([]int{1, 2, 3}, alerts...)...)
	}
}

func (t *statusText) rules() {
	hot := slices.DeleteFunc(slices.Clone(t.status.RuleCounters), func(r *pb.RuleCounters) bool { return r.Hits == 0 })
	slices.SortStableFunc(hot, func(a, b *pb.RuleCounters) int { return cmp.Compare(b.Hits, a.Hits) })
	shown := hot
	if !t.all {
		// A line is kept for what is left out; an empty line and the heading come before the rules.
		room := statusLines - len(t.lines) - 1 - 2
		shown = hot[:min(len(hot), max(room, 0), hottest)]
		if more := len(hot) - len(shown); more > 0 {
			t.left = append(t.left, many(more, "rule", "rules"))
		}
	}
	switch {
	case len(hot) == 0:
		t.add("", "no rule has audited or denied anything yet")
		return
	case len(shown) == 0:
		return
	}
	rows, numbers := [][]string{{"HITS", "RULE", "OPERATION", "HOTTEST RULES"}}, []int{0, 1}
	if t.all {
		rows[0], numbers = slices.Insert(rows[0], 1, "LOST", "LIMITED"), []int{0, 1, 2, 3}
	}
	for _, r := range shown {
		row := []string{t.number(r.Hits), number(r.Rule), r.Operation, r.Policy}
		if t.all {
			row = slices.Insert(row, 1, number(r.AlertsLost), number(r.AlertsLimited))
		}
		rows = append(rows, row)
	}
	t.add("")
	t.add(tableLines(numbers, rows...)...)
}

func (t *statusText) outputs() {
	rows := [][]string{{"OUTPUT", "WRITTEN", "FILTERED", "DROPPED", "LAST ERROR"}}
	for _, k := range t.status.GetAlerts().GetSinks() {
		rows = append(rows, []string{k.Name, number(k.Written), number(k.Filtered), number(k.Dropped), cmp.Or(k.Error, "-")})
	}
	t.add("")
	if len(rows) == 1 {
		t.add("no output is configured: only 'ebpfguard alerts' shows them")
		return
	}
	t.add(tableLines([]int{1, 2, 3}, rows...)...)
}
