package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"
	"github.com/google/go-cmp/cmp"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
)

// busy is a snapshot of a daemon with more rules than there is room for.
func busy(at time.Time, more uint64) snapshot {
	s := busyStatus(at, more)
	s.RuleCounters = []*pb.RuleCounters{{Policy: "no-rogue-sshd", Operation: "socket_bind", Hits: 1234567 + more}}
	for i := range 20 {
		s.RuleCounters = append(s.RuleCounters, &pb.RuleCounters{
			Policy: fmt.Sprintf("team-%d/a-policy-with-a-long-name-of-many-words-that-does-not-fit", i), Rule: uint32(i), Operation: "bprm_check_security", Hits: uint64(i) * 10})
	}
	s.RuleCounters[5].Hits += more / 250 // rises, but is not among the greatest
	return snapshot{s, at}
}

// TestTopFrame compares a frame of 80x24 with testdata/top.txt.
func TestTopFrame(t *testing.T) {
	at := time.Date(2026, 11, 22, 15, 4, 5, 0, time.Local)
	var model tea.Model = topModel{frame: topFrame{width: 80, height: 24, keys: true}, interval: time.Second}
	if view := model.View(); view.Content != "ebpfguard top: asking the daemon ...\n\nq quit   p pause" || !view.AltScreen {
		t.Errorf("before the first answer: %+v", view)
	}
	model, again := model.Update(busy(at, 0))
	if again == nil {
		t.Error("it does not look again")
	}
	if line := lineOf(t, model, "socket_bind "); !strings.Contains(line, " -         -          -    1.2M ") {
		t.Errorf("a rate is told of one snapshot: %q", line)
	}
	model, _ = model.Update(busy(at.Add(2*time.Second), 1000))
	got := model.View().Content
	lines := strings.Split(got, "\n")
	if len(lines) != 24 {
		t.Errorf("%d lines, want 24", len(lines))
	}
	for _, line := range lines {
		if n := utf8.RuneCountInString(line); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	if os.Getenv("UPDATE_SCRIPTS") != "" {
		if err := os.WriteFile("testdata/top.txt", []byte(got+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/top.txt")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got+"\n"); d != "" {
		t.Errorf("not as in testdata/top.txt:\n%s", d)
	}
}

func TestTopKeys(t *testing.T) {
	at := time.Date(2026, 11, 22, 15, 4, 5, 0, time.Local)
	var model tea.Model = topModel{frame: topFrame{width: 80, height: 24, keys: true}, interval: time.Second}
	model, _ = model.Update(busy(at, 0))
	model, _ = model.Update(tea.KeyPressMsg{Code: 'p', Text: "p"})
	stopped := model.View().Content
	if !strings.HasSuffix(stopped, "p continue   PAUSED") {
		t.Errorf("it does not tell that it is stopped:\n%s", stopped)
	}
	model, again := model.Update(busy(at.Add(time.Second), 1000))
	if model.View().Content != stopped || again == nil {
		t.Error("stopped, it changes or does not look again")
	}
	model, _ = model.Update(tea.KeyPressMsg{Code: 'p', Text: "p"})
	model, _ = model.Update(busy(at.Add(2*time.Second), 1000))
	// The time that it was stopped counts.
	if line := lineOf(t, model, "socket_bind "); !strings.Contains(line, " 500 ") {
		t.Errorf("got %q, want 500 a second", line)
	}
	model, _ = model.Update(tea.WindowSizeMsg{Width: 40, Height: 12})
	for i, line := range strings.Split(model.View().Content, "\n") {
		if i >= 12 || utf8.RuneCountInString(line) > 40 {
			t.Errorf("line %d does not fit into 40x12: %q", i, line)
		}
	}
	for _, size := range []tea.WindowSizeMsg{{Width: 1, Height: 1}, {}} {
		tiny, _ := model.Update(size)
		if lines := strings.Count(tiny.View().Content, "\n"); lines > 0 {
			t.Errorf("%d lines too many for %v", lines, size)
		}
	}
	_, quit := model.Update(tea.KeyPressMsg{Code: 'q', Text: "q"})
	if quit == nil {
		t.Fatal("q does not end it")
	}
	if _, ok := quit().(tea.QuitMsg); !ok {
		t.Error("q does something else than ending it")
	}
}

// TestTopWithoutAnswer shows the last numbers, and what is wrong, until there
// are new ones; after a boot nothing is compared.
func TestTopWithoutAnswer(t *testing.T) {
	at := time.Date(2026, 11, 22, 15, 4, 5, 0, time.Local)
	var model tea.Model = topModel{frame: topFrame{width: 80, height: 24, keys: true}, interval: time.Second}
	model, _ = model.Update(busy(at, 5000))
	model, again := model.Update(topError{errors.New("top: no daemon answers")})
	if again == nil {
		t.Error("it does not look again")
	}
	lineOf(t, model, "NO ANSWER  web1 ")
	lineOf(t, model, "! top: no daemon answers")
	next := busy(at.Add(time.Second), 0)
	next.status.BootId = "another"
	model, _ = model.Update(next)
	lineOf(t, model, "ENFORCING  web1 ")
	lineOf(t, model, "per second: - decisions  - denied")
}

func TestTopProblems(t *testing.T) {
	frame := topFrame{width: 80, height: 24}
	s := busy(time.Now(), 0)
	s.status.State = pb.StatusResponse_STATE_DEGRADED
	s.status.Problems = []string{strings.Repeat("long ", 30), "b", "c"}
	frame.add(s)
	lines := strings.Split(frame.String(), "\n")
	if !strings.HasPrefix(lines[0], "DEGRADED  ") || !strings.HasSuffix(lines[1], "… (and 2 more: ebpfguard status)") || utf8.RuneCountInString(lines[1]) > 80 {
		t.Errorf("got %q and %q", lines[0], lines[1])
	}
}

// lineOf returns the line of the view that begins so.
func lineOf(t *testing.T, model tea.Model, prefix string) string {
	t.Helper()
	for line := range strings.SplitSeq(model.View().Content, "\n") {
		if strings.HasPrefix(line, prefix) {
			return line
		}
	}
	t.Errorf("no line begins with %q:\n%s", prefix, model.View().Content)
	return ""
}
