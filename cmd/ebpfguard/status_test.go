package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/policy"
)

// ordinaryStatus is the status of a daemon with a dozen policies and so many problems.
func ordinaryStatus(now time.Time, problems int) *pb.StatusResponse {
	s := busyStatus(now, 1e9)
	s.Version = "v0.4.0, commit 0123456789abcdef0123456789abcdef01234567, go1.26.1"
	s.Policies, s.Rules, s.Mitigations = 12, 31, 2
	for i := range 12 {
		s.RuleCounters = append(s.RuleCounters, &pb.RuleCounters{Policy: fmt.Sprintf("team-%d/a-policy-with-a-long-name-of-many-words-as-people-write", i),
			Rule: uint32(i), Operation: string(policy.BprmCheckSecurity), Hits: uint64(i) * 1e9})
	}
	for i := range problems {
		s.State = pb.StatusResponse_STATE_DEGRADED
		s.Problems = append(s.Problems, fmt.Sprintf("the policies of /etc/ebpfguard/policies.d are NOT in force, the previous ones stay in force: "+
			"/etc/ebpfguard/policies.d/%d.yaml:4:3: unknown field \"subjet\"; did you mean subject?", i))
	}
	return s
}

// TestStatusFits wants the status of any daemon to fit a terminal.
func TestStatusFits(t *testing.T) {
	now := time.Now()
	long := ordinaryStatus(now, 1)
	long.Problems[0] = strings.Repeat("/a/directory/with/a/long/name", 40) + " " + strings.Repeat("and words ", 400)
	long.PolicyDirectory, long.PinPath = strings.Repeat("/policies", 30), ""
	contained := ordinaryStatus(now, 3)
	contained.Containers = containedStatus(1)
	contained.Unconfirmed = &pb.Unconfirmed{Left: durationpb.New(23*time.Hour + 59*time.Minute)}
	waits := ordinaryStatus(now, 3)
	waits.Unconfirmed = &pb.Unconfirmed{Left: durationpb.New(23*time.Hour + 59*time.Minute)}
	for _, test := range []struct {
		name   string
		status *pb.StatusResponse
		want   []string
		never  string
	}{
		{name: "well", status: ordinaryStatus(now, 0), want: []string{"ENFORCING  12 policies", "not shown: 7 rules, ends of lines (ebpfguard status --all)", " team-11/", " team-8/", "bprm_check_security ", "sb_mount (off)"}, never: "problem"},
		{name: "a problem", status: ordinaryStatus(now, 1), want: []string{"DEGRADED   1 problem; still enforcing 12 policies", "did you mean subject?", " team-11/"}},
		{name: "a few problems", status: ordinaryStatus(now, 3), want: []string{"DEGRADED   3 problems; ", "  ! the policies", "socket_connect "}, never: "more problems"},
		{name: "many problems", status: ordinaryStatus(now, 40), want: []string{"DEGRADED   40 problems; ", "not shown: 37 problems, 11 rules, ends of lines (ebpfguard status --all)", "socket_connect "}},
		{name: "long texts", status: long, want: []string{"ends of lines", "socket_connect "}},
		{name: "containers", status: contained, want: []string{"containers  12 known", "socket_connect "}},
		{name: "unconfirmed", status: waits, want: []string{"taken back in 23h", "socket_connect "}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := describeStatus(test.status, now, false)
			lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
			if len(lines) > 24 {
				t.Errorf("%d lines", len(lines))
			}
			for _, line := range lines {
				if n := utf8.RuneCountInString(line); n > 80 {
					t.Errorf("%d columns: %s", n, line)
				}
			}
			if !regexp.MustCompile(`^(ENFORCING|DEGRADED) `).MatchString(lines[0]) {
				t.Errorf("the verdict is not the first line: %s", lines[0])
			}
			for _, want := range test.want {
				if !strings.Contains(got, want) {
					t.Errorf("it lacks %q", want)
				}
			}
			if test.never != "" && strings.Contains(got, test.never) {
				t.Errorf("it has %q", test.never)
			}
			if t.Failed() {
				t.Log("\n" + got)
			}
			all := describeStatus(test.status, now, true)
			if n := strings.Count(all, "\n  ! "); n != len(test.status.Problems) {
				t.Errorf("--all shows %d problems of %d", n, len(test.status.Problems))
			}
			if strings.Contains(all, "not shown") || strings.Contains(all, "…") || strings.Count(all, "team-") != 11 {
				t.Errorf("--all does not show all:\n%s", all)
			}
		})
	}
}

// TestStatusForged wants text from outside to begin no line and to steer no terminal.
func TestStatusForged(t *testing.T) {
	const forged = "x\nENFORCING  all is well\r\x1b[2J\u2028ENFORCING\u202e"
	now := time.Now()
	s := ordinaryStatus(now, 0)
	s.State, s.Problems = pb.StatusResponse_STATE_DEGRADED, []string{forged}
	s.Host, s.BootId, s.Version, s.PolicyDirectory, s.PinPath = forged, forged, forged, forged, forged
	s.Operations[0].Operation = forged
	s.RuleCounters = []*pb.RuleCounters{{Policy: forged, Operation: forged, Hits: 1}}
	s.Alerts.Sinks[0].Name, s.Alerts.Sinks[0].Error = forged, forged
	for _, all := range []bool{false, true} {
		for i, line := range strings.Split(describeStatus(s, now, all), "\n") {
			if strings.HasPrefix(line, "ENFORCING") || line != printable(line) {
				t.Errorf("line %d is forged: %q", i+1, line)
			}
		}
	}
}
