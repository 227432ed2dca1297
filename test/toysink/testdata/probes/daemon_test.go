package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ebpfguard/ebpfguard"
	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/daemon/config"
)

// TestToySink expects that the sink gets an alert, that the status counts it, and that a
// wrong key is told with its place.
func TestToySink(t *testing.T) {
	w := newWorld(t)
	c, err := config.Parse("c.yaml", []byte("outputs:\n- type: toy\n  folder: "+w.dir+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	w.config.Outputs = c.Outputs
	i := w.start()
	w.guard.alerts <- ebpfguard.SocketBindAlert{}
	i.await("the alert", func() bool {
		_, err := os.Stat(filepath.Join(w.dir, "alert-1"))
		return err == nil
	})
	i.await("the count", func() bool {
		s, err := i.Status(t.Context(), &pb.StatusRequest{})
		return err == nil && s.GetAlerts().GetSinks()[0].GetName() == "toy "+w.dir && s.GetAlerts().GetSinks()[0].GetWritten() == 1
	})
	for text, want := range map[string]string{
		"outputs:\n- type: toy\n  folder: x": "c.yaml:3:11: folder \"x\" is not absolute",
		"outputs:\n- type: toy\n  path: /x":  "c.yaml:3:3: ",
		"outputs:\n- type: toys":             "toy",
	} {
		if _, err := config.Parse("c.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}
