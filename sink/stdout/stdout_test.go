package stdout

import (
	"bytes"
	"testing"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/sink"
	"github.com/ebpfguard/ebpfguard/sink/setup"
)

// TestFormat expects lines of the form that was asked for.
func TestFormat(t *testing.T) {
	alert := ebpfguard.FileOpenAlert{FileObject: ebpfguard.FileObject{Path: "/etc/shadow"}}
	data, err := alert.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	for format, want := range map[sink.Format]string{"": string(data), sink.FormatJSON: string(data), sink.FormatText: alert.String()} {
		var b bytes.Buffer
		s, err := (&Settings{Format: format}).Open(setup.Environment{Stdout: &b})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Write(t.Context(), alert); err != nil || b.String() != want+"\n" {
			t.Errorf("format %q: %q, %v", format, b.String(), err)
		}
	}
	if err := (&Settings{Format: "xml"}).Validate(); err == nil {
		t.Error("a format that there is not is taken")
	}
}
