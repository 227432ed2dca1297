package main

import (
	"bytes"
	"errors"
	"io"
	"log"
	"strings"
	"testing"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
)

func TestPrint(t *testing.T) {
	var messages, out bytes.Buffer
	log.SetOutput(&messages)
	defer log.SetOutput(io.Discard)
	broken := errors.New("broken")
	err := print(&out, func(yield func(ebpfguard.Alert, error) bool) {
		context := ebpfguard.AlertContext{Operation: policy.SocketBind, Verdict: policy.Deny}
		_ = yield(ebpfguard.SocketBindAlert{AlertContext: context}, nil) && yield(nil, &ebpfguard.LostAlertsError{Count: 7}) &&
			yield(ebpfguard.SocketBindAlert{AlertContext: context}, nil) && yield(nil, broken)
	})
	if !errors.Is(err, broken) {
		t.Error(err)
	}
	if lines := strings.Split(strings.TrimSpace(out.String()), "\n"); len(lines) != 2 || !strings.HasPrefix(lines[1], `{"time":`) {
		t.Errorf("lines %q", lines)
	}
	if !strings.Contains(messages.String(), "7 alerts") {
		t.Errorf("messages %q", messages.String())
	}
}

// TestMistakes needs no kernel: policies are read first.
func TestMistakes(t *testing.T) {
	for path, want := range map[string]string{"nowhere.yaml": "check the path", "main.go": "main.go:"} {
		if err := enforce(t.Context(), io.Discard, []string{path}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
