package sink

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
)

// fileAlert is an alert about a file of the process.
func fileAlert(pid uint32, path string) ebpfguard.FileOpenAlert {
	return ebpfguard.FileOpenAlert{
		AlertContext: ebpfguard.AlertContext{
			ID: "1-2", Time: time.Date(2026, 11, 22, 15, 4, 5, 0, time.UTC), Operation: policy.FileOpen, Hook: "file_open",
			Verdict: policy.Deny, Policy: "etc/shadow", Count: 1, Process: ebpfguard.Process{PID: pid, Binary: "/usr/bin/cat"},
		},
		FileObject: ebpfguard.FileObject{Path: path, Access: policy.Read},
	}
}

// limitedWriter takes so many bytes, then nothing.
type limitedWriter struct {
	bytes.Buffer
	left  int
	calls int
}

func (w *limitedWriter) Write(p []byte) (int, error) {
	w.calls++
	n := min(w.left, len(p))
	w.Buffer.Write(p[:n])
	w.left -= n
	if n < len(p) {
		return n, errors.New("full")
	}
	return n, nil
}

func TestLines(t *testing.T) {
	alert := fileAlert(7, "/a\n\x1b[31m")
	alert.Message = "<b>"
	w := &limitedWriter{left: 1 << 20}
	s := JSON(w)
	for range 3 {
		if err := s.Write(t.Context(), alert); err != nil {
			t.Fatal(err)
		}
	}
	if w.calls != 3 || strings.Count(w.String(), "\n") != 3 || !strings.Contains(w.String(), `"<b>"`) {
		t.Errorf("%d calls wrote %s", w.calls, w)
	}
	w = &limitedWriter{left: 1 << 20}
	if err := Text(w).Write(t.Context(), alert); err != nil || w.String() != alert.String()+"\n" || strings.ContainsRune(w.String(), '\x1b') {
		t.Errorf("text %q, %v", w, err)
	}
}

// TestTornLine expects that a line which was written in part spoils no other.
func TestTornLine(t *testing.T) {
	w := &limitedWriter{left: 1 << 20}
	s := JSON(w)
	write := func(pid uint32) error { return s.Write(context.Background(), fileAlert(pid, "/x")) }
	if err := write(1); err != nil {
		t.Fatal(err)
	}
	w.left = 10
	if err := write(2); err == nil {
		t.Error("a torn line is no error")
	}
	if err := write(3); err == nil { // nothing at all is written
		t.Error("nothing is written, and it is no error")
	}
	w.left = 1 << 20
	for pid := range uint32(2) {
		if err := write(4 + pid); err != nil {
			t.Fatal(err)
		}
	}
	var pids []uint32
	for line := range strings.Lines(w.String()) {
		var keys struct{ Process struct{ PID uint32 } }
		if json.Unmarshal([]byte(line), &keys) == nil {
			pids = append(pids, keys.Process.PID)
		}
	}
	if fmt.Sprint(pids) != "[1 4 5]" {
		t.Errorf("whole lines %v in\n%s", pids, w)
	}
}

func TestShortWrite(t *testing.T) {
	s := JSON(shortWriter{})
	if err := s.Write(t.Context(), fileAlert(1, "/x")); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("error %v", err)
	}
}

// shortWriter breaks the contract of io.Writer.
type shortWriter struct{}

func (shortWriter) Write(p []byte) (int, error) { return len(p) / 2, nil }

func TestFilter(t *testing.T) {
	alert := fileAlert(7, "/etc/shadow")
	alert.Severity = policy.SeverityHigh
	alert.Container, alert.FirstContainer = &policy.Container{ID: "0123456789abcdef", Name: "web-1", Pod: &policy.Pod{Namespace: "shop", Name: "web-7"}}, &policy.Container{ID: "fedcba", Name: "outer"}
	bare := alert
	bare.Container, bare.FirstContainer, bare.ContainerID = nil, nil, "ffffffffffffffff"
	bare.Severity, bare.Policy, bare.Binary = "", "", ""
	for _, c := range []struct {
		filter      Filter
		alert, bare bool
	}{
		{Filter{}, true, true},
		{Filter{Operations: []string{"sb_mount", "file_open"}}, true, true},
		{Filter{Operations: []string{"sb_mount"}}, false, false},
		{Filter{Policies: []string{"etc/shadow"}}, true, false},
		{Filter{Policies: []string{"etc/*"}}, true, false},
		{Filter{Policies: []string{"e*w"}}, true, false},
		{Filter{Policies: []string{"etc"}}, false, false},
		{Filter{Policies: []string{"*"}}, true, true},
		{Filter{Verdicts: []string{"kill", "deny"}}, true, true},
		{Filter{Verdicts: []string{"audit"}}, false, false},
		{Filter{Severities: []string{"high"}}, true, false},
		{Filter{Severities: []string{"none"}}, false, true},
		{Filter{Severities: []string{"low", "none"}}, false, true},
		{Filter{Binaries: []string{"/usr/"}}, true, false},
		{Filter{Binaries: []string{"/usr/bin/cat"}}, true, false},
		{Filter{Binaries: []string{"/usr/bin/c?t", "/x"}}, true, false},
		{Filter{Binaries: []string{"/usr/bin"}}, false, false},
		{Filter{Binaries: []string{"/"}}, true, false},
		{Filter{Containers: []string{"web-1"}}, true, false},
		{Filter{Containers: []string{"web-*", "x"}}, true, false},
		{Filter{Containers: []string{"outer"}}, true, false},
		{Filter{Containers: []string{"0123456789ab"}}, true, false},
		{Filter{Containers: []string{"0123456789"}}, false, false},
		{Filter{Containers: []string{"fedcba"}}, true, false},
		{Filter{Containers: []string{"ffffffffffff"}}, false, true},
		{Filter{Containers: []string{"web"}}, false, false},
		{Filter{Pods: []string{"shop/web-7"}}, true, false},
		{Filter{Pods: []string{"shop/*"}}, true, false},
		{Filter{Pods: []string{"x/y", "*/web-*"}}, true, false},
		{Filter{Pods: []string{"shop/web"}}, false, false},
		{Filter{Pods: []string{"shop-2/web-7"}}, false, false},
		{Filter{Verdicts: []string{"deny"}, Binaries: []string{"/x"}}, false, false},
		{Filter{Verdicts: []string{"deny"}, Binaries: []string{"/usr/bin/**"}}, true, false},
	} {
		if err := c.filter.Validate(); err != nil {
			t.Errorf("%+v: %v", c.filter, err)
		}
		if got := c.filter.Match(alert); got != c.alert {
			t.Errorf("%+v chooses the alert: %v", c.filter, got)
		}
		if got := c.filter.Match(bare); got != c.bare {
			t.Errorf("%+v chooses the one that no rule decided: %v", c.filter, got)
		}
	}
}

func TestFilterErrors(t *testing.T) {
	for _, c := range []struct {
		filter Filter
		want   string
	}{
		{Filter{Operations: []string{"file_opne"}}, `unknown operation "file_opne"; did you mean file_open?`},
		{Filter{Operations: []string{""}}, "an operation is empty; leave it out"},
		{Filter{Policies: []string{"A b"}}, `"A b" is no policy name; use a-z`},
		{Filter{Policies: []string{""}}, `"" is no policy name`},
		{Filter{Verdicts: []string{"allow"}}, `unknown verdict "allow"; choose from audit, deny, kill`},
		{Filter{Severities: []string{"enormous"}}, `unknown severity "enormous"; choose from info, low, medium, high, critical, none`},
		{Filter{Containers: []string{"a b"}}, `"a b" is no name of a container; write one such as web`},
		{Filter{Containers: []string{""}}, `"" is no name of a container`},
		{Filter{Pods: []string{"web-7"}}, `"web-7" is no pod; write NAMESPACE/NAME such as shop/web-0`},
		{Filter{Binaries: []string{"cat"}}, `binary: path "cat" is not absolute`},
		{Filter{Verdicts: []string{"x"}, Binaries: []string{"y"}}, "\nbinary: "},
	} {
		err := c.filter.Validate()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error %v, want %s", c.filter, err, c.want)
		}
		if c.filter.Match(fileAlert(1, "/x")) {
			t.Errorf("%+v chooses an alert", c.filter)
		}
		if _, err := NewPipeline(Options{}, Output{Name: "x", Sink: JSON(io.Discard), Filter: c.filter}); err == nil || !strings.Contains(err.Error(), `sink "x": `) {
			t.Errorf("%+v: the pipeline takes it: %v", c.filter, err)
		}
	}
}
