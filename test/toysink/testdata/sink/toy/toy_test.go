package toy

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/ebpfguard/ebpfguard"
)

func TestWrite(t *testing.T) {
	s := &Settings{Folder: t.TempDir()}
	if err := s.Write(t.Context(), ebpfguard.FileOpenAlert{AlertContext: ebpfguard.AlertContext{Sequence: 7}}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(s.Folder, "alert-7")); err != nil {
		t.Error(err)
	}
}
