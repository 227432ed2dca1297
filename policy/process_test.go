package policy

import (
	"strings"
	"testing"
)

// TestSubjectOfProcesses: the process itself, what descends from it, and nobody who got its
// pid later.
func TestSubjectOfProcesses(t *testing.T) {
	chosen := Subject{Processes: []ProcessID{{10, 5 * tick}, {20, 6 * tick}}}
	named := Subject{Processes: chosen.Processes, Binaries: []string{"/bin/a"}}
	for _, tt := range []struct {
		name      string
		subject   Subject
		process   Process
		rank      SubjectRank
		uncertain bool
	}{
		{"itself", chosen, Process{IDs: []ProcessID{{10, 5 * tick}}}, SubjectEveryone + SubjectProcess, false},
		{"to 10 ms", chosen, Process{IDs: []ProcessID{{10, 6*tick - 1}}}, SubjectEveryone + SubjectProcess, false},
		{"a descendant", chosen, Process{IDs: []ProcessID{{30, 9 * tick}, {20, 6 * tick}, {1, 0}}}, SubjectEveryone + SubjectProcess, false},
		{"its pid", chosen, Process{IDs: []ProcessID{{10, 6 * tick}}}, 0, false},
		{"another's start", chosen, Process{IDs: []ProcessID{{20, 5 * tick}}}, 0, false},
		{"nobody", chosen, Process{}, 0, false},
		{"unknown", chosen, Process{Unknown: true}, SubjectEveryone + SubjectProcess, true},
		{"and a binary", named, Process{Binary: "/bin/a", IDs: []ProcessID{{10, 5 * tick}}}, SubjectEveryone + SubjectBinary + SubjectProcess, false},
		{"but another binary", named, Process{Binary: "/bin/b", IDs: []ProcessID{{10, 5 * tick}}}, 0, false},
		{"the binary alone", named, Process{Binary: "/bin/a"}, 0, false},
	} {
		rank, uncertain, ok := tt.subject.Match(tt.process)
		if rank != tt.rank || uncertain != tt.uncertain || ok != (tt.rank != 0) {
			t.Errorf("%s: rank %d, uncertain %v, match %v; want rank %d, uncertain %v", tt.name, rank, uncertain, ok, tt.rank, tt.uncertain)
		}
	}
	all := SubjectEveryone + SubjectUser + SubjectCgroup + SubjectContainer + SubjectBinary
	if SubjectProcess <= all {
		t.Errorf("rank %d of processes, %d of all others", SubjectProcess, all)
	}
}

// TestUntil: a policy is there before its end and not from then on.
func TestUntil(t *testing.T) {
	denied := everyone("p", nil, patterns{ports(22)})
	denied.Until = 1000
	excepted := everyone("q", patterns{ports(22)}, nil)
	excepted.Until, excepted.Subject = 500, Subject{Users: ids(0, 0)}
	for now, want := range map[uint64]Verdict{0: Allow, 1: Allow, 499: Allow, 500: Deny, 999: Deny, 1000: Allow, 1 << 63: Allow} {
		request := Request{Operation: SocketBind, Object: tcp("1.2.3.4:22"), Now: now}
		if got := Decide(set(denied, excepted), request); got.Verdict != want {
			t.Errorf("at %d: %v, want %v", now, got.Verdict, want)
		}
	}
	// One that begins when the other ends.
	later := everyone("l", nil, patterns{ports(23)})
	later.From = 1000
	for now, want := range map[uint64]Verdict{0: Allow, 999: Allow, 1000: Deny, 1 << 63: Deny} {
		request := Request{Operation: SocketBind, Object: tcp("1.2.3.4:23"), Now: now}
		if got := Decide(set(denied, later), request); got.Verdict != want {
			t.Errorf("at %d: %v by what begins at 1000, want %v", now, got.Verdict, want)
		}
	}
	later.Until = 1000
	if err := Validate(set(later)); err == nil {
		t.Error("a policy that ends when it begins is valid")
	}
	unknown := Request{Process: Process{Unknown: true}, Operation: SocketBind, Object: tcp("1.2.3.4:22"), Now: 1000}
	denied.Subject = Subject{Processes: []ProcessID{{10, tick}}}
	if got := Decide(set(denied), unknown); got.Verdict != Allow {
		t.Errorf("an unknown process when the policy has ended: %v", got.Verdict)
	}
	unknown.Now = 999
	if got := Decide(set(denied), unknown); got.Verdict != Deny || !got.Undecided {
		t.Errorf("an unknown process before the policy ends: %+v", got)
	}
}

// TestWarningsOfPoliciesThatEnd: a rule that does nothing until another one's end is not
// warned about; one that does nothing as long as it is there is.
func TestWarningsOfPoliciesThatEnd(t *testing.T) {
	lasting, ending := everyone("lasting", nil, patterns{ports(22)}), everyone("ending", nil, patterns{all()})
	ending.Until = 1000
	if warnings := Warnings(set(ending, lasting)); len(warnings) != 0 {
		t.Errorf("warnings: %v", warnings)
	}
	ending.Rules[0].Deny = patterns{ports(22)}

	warnings := Warnings(set(lasting, ending))
	if len(warnings) != 1 || warnings[0].Policy != "ending" || !strings.Contains(warnings[0].Text, "no effect") {
		t.Errorf("warnings: %v", warnings)
	}
}
