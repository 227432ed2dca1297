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

// snapshot is what the daemon answered and when.
type snapshot struct {
	status *pb.StatusResponse
	at     time.Time
}

// topFrame draws what happened between two snapshots.
type topFrame struct {
	before, now   snapshot
	width, height int
	keys          bool // show the keys
	paused        bool
	err           error // of the last look
}

// add takes the next snapshot. After a reboot the counters begin at 0, so
// there is nothing to compare with.
func (f *topFrame) add(s snapshot) {
	f.before, f.now, f.err = f.now, s, nil
	if f.before.status.GetBootId() != s.status.GetBootId() {
		f.before = snapshot{}
	}
}

// perSecond returns how often something happened in a second; - without two
// snapshots.
func (f *topFrame) perSecond(before, now uint64) string {
	seconds := f.now.at.Sub(f.before.at).Seconds()
	if f.before.status == nil || seconds <= 0 || now < before {
		return "-"
	}
	return rate(float64(now-before) / seconds)
}

// String returns the frame: at most so many lines, none wider than the width.
func (f *topFrame) String() string {
	var lines []string
	if f.now.status == nil {
		lines = []string{"ebpfguard top: asking the daemon ..."}
		if f.err != nil {
			lines = []string{f.err.Error()}
		}
	} else {
		lines = append(f.head(), f.operations()...)
		footer := 1
		if f.keys {
			footer = 2
		}
		lines = append(lines, f.containers()...)
		lines = append(lines, f.rules(f.height-len(lines)-footer)...)
	}
	if f.keys {
		keys := "q quit   p pause"
		if f.paused {
			keys = "q quit   p continue   PAUSED"
		}
		lines = append(lines[:min(len(lines), max(f.height-2, 0))], "", keys)
	}
	var b strings.Builder
	for i, line := range lines[:min(len(lines), max(f.height, 0))] {
		if i > 0 {
			b.WriteString("\n")
		}
		b.WriteString(strings.TrimRight(truncate(line, f.width), " "))
	}
	if !f.keys {
		b.WriteString("\n")
	}
	return b.String()
}

// head returns the state and the sums.
func (f *topFrame) head() []string {
	s := f.now.status
	state := strings.ToUpper(enumWord(s.State.Descriptor(), s.State.Number()))
	problem := ""
	switch {
	case f.err != nil:
		state, problem = "NO ANSWER", "! "+f.err.Error()
	case len(s.Problems) > 0:
		problem = "! " + printable(s.Problems[0])
		if more := len(s.Problems) - 1; more > 0 {
			rest := fmt.Sprintf(" (and %d more: ebpfguard status)", more)
			problem = truncate(problem, f.width-len(rest)) + rest
		}
	}
	var was, is sums
	was.add(f.before.status)
	is.add(s)
	lines := []string{
		fmt.Sprintf("%s  %s  up %s  revision %d  %s  %s  %s", state, printable(truncate(s.Host, 20)), duration.Rough(f.now.at.Sub(s.Started.AsTime())),
			s.Revision, many(s.Policies, "policy", "policies"), many(s.Rules, "rule", "rules"), f.now.at.Local().Format("15:04:05")),
	}
	if problem != "" {
		lines = append(lines, problem)
	}
	return append(lines,
		fmt.Sprintf("per second: %s decisions  %s denied  %s audited  %s alerts", f.perSecond(was.all, is.all),
			f.perSecond(was.denied, is.denied), f.perSecond(was.audited, is.audited), f.perSecond(was.alerts, is.alerts)),
		fmt.Sprintf("alerts not sent: %s lost  %s limited   mitigations: %s   memory: %s",
			number(is.lost), number(is.limited), number(s.Mitigations), size(s.ResidentBytes)),
		"")
}

// sums are the counters of all operations.
type sums struct{ all, audited, denied, alerts, lost, limited uint64 }

func (s *sums) add(status *pb.StatusResponse) {
	for _, o := range status.GetOperations() {
		s.all += decisions(o)
		s.audited, s.denied, s.alerts = s.audited+o.Audited, s.denied+o.Denied, s.alerts+o.Alerts
		s.lost, s.limited = s.lost+o.AlertsLost, s.limited+o.AlertsLimited
	}
}

// decisions returns how many operations rules decided about.
func decisions(o *pb.OperationCounters) uint64 {
	return o.GetAllowed() + o.GetAudited() + o.GetDenied()
}

func (f *topFrame) operations() []string {
	rows := [][]string{{"OPERATION", "OPS/S", "DENIED/S", "AUDITED/S", "DENIED", "KILLED", "LOST"}}
	for _, o := range f.now.status.Operations {
		before := &pb.OperationCounters{}
		for _, b := range f.before.status.GetOperations() {
			if b.Operation == o.Operation {
				before = b
			}
		}
		name := o.Operation
		if !o.Attached {
			name += " (off)"
		}
		rows = append(rows, []string{name, f.perSecond(decisions(before), decisions(o)), f.perSecond(before.Denied, o.Denied),
			f.perSecond(before.Audited, o.Audited), short(o.Denied), short(o.Killed), short(o.AlertsLost)})
	}
	if len(rows) == 1 {
		return []string{"nothing is decided yet: no policy has rules", ""}
	}
	return append(tableLines([]int{1, 2, 3, 4, 5, 6}, rows...), "")
}

// shownContainers is how many containers it shows.
const shownContainers = 3

// containers returns those in which most is refused or audited now, then those in which most was.
func (f *topFrame) containers() []string {
	type key struct{ namespace, name string }
	all := func(c *pb.ContainerCounters) uint64 { return c.Denied + c.Audited }
	before := map[key]*pb.ContainerCounters{}
	for _, c := range f.before.status.GetContainers().GetCounters() {
		before[key{c.Namespace, c.Name}] = c
	}
	was := func(c *pb.ContainerCounters) *pb.ContainerCounters { return before[key{c.Namespace, c.Name}] }
	rise := func(c *pb.ContainerCounters) uint64 {
		return all(c) - min(all(c), was(c).GetDenied()+was(c).GetAudited())
	}
	hot := slices.Clone(f.now.status.GetContainers().GetCounters())
	if len(hot) == 0 {
		return nil
	}
	slices.SortStableFunc(hot, func(a, b *pb.ContainerCounters) int {
		return cmp.Or(cmp.Compare(rise(b), rise(a)), cmp.Compare(all(b), all(a)))
	})
	rows := [][]string{{"DENIED/S", "AUDITED/S", "DENIED", "AUDITED", "IN CONTAINERS"}}
	for _, c := range hot[:min(len(hot), shownContainers)] {
		rows = append(rows, []string{f.perSecond(was(c).GetDenied(), c.Denied), f.perSecond(was(c).GetAudited(), c.Audited), short(c.Denied), short(c.Audited), containerLabel(c)})
	}
	return append(tableLines([]int{0, 1, 2, 3}, rows...), "")
}

// rules returns the hottest rules, as many as there are lines for: those that
// decide most now, then those that decided most.
func (f *topFrame) rules(lines int) []string {
	type key struct {
		policy string
		rule   uint32
	}
	before := map[key]uint64{}
	for _, r := range f.before.status.GetRuleCounters() {
		before[key{r.Policy, r.Rule}] = r.Hits
	}
	rise := func(r *pb.RuleCounters) uint64 { return r.Hits - min(r.Hits, before[key{r.Policy, r.Rule}]) }
	hot := slices.DeleteFunc(slices.Clone(f.now.status.RuleCounters), func(r *pb.RuleCounters) bool { return r.Hits == 0 })
	slices.SortStableFunc(hot, func(a, b *pb.RuleCounters) int {
		return cmp.Or(cmp.Compare(rise(b), rise(a)), cmp.Compare(b.Hits, a.Hits))
	})
	if len(hot) == 0 {
		return []string{"no rule has audited or denied anything yet"}
	}
	rows := [][]string{{"HITS/S", "HITS", "RULE", "OPERATION", "HOTTEST RULES"}}
	for _, r := range hot[:min(len(hot), max(lines-1, 0))] {
		rows = append(rows, []string{f.perSecond(before[key{r.Policy, r.Rule}], r.Hits), short(r.Hits), number(r.Rule), r.Operation, r.Policy})
	}
	return tableLines([]int{0, 1, 2}, rows...)
}

func tableLines(numbers []int, rows ...[]string) []string {
	var b strings.Builder
	_ = table(&b, numbers, rows...)
	return strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
}

// short writes a number in at most seven characters.
func short(n uint64) string {
	for _, unit := range []struct {
		size uint64
		name string
	}{{1e12, "T"}, {1e9, "G"}, {1e6, "M"}} {
		if n >= unit.size {
			return fmt.Sprintf("%.1f%s", float64(n)/float64(unit.size), unit.name)
		}
	}
	return number(n)
}
