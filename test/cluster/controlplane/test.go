package controlplane

import (
	"os"
	"testing"
)

// New starts a control plane for a test and ends it with the test. When the test has failed, the end of each
// program's log is shown.
func New(t testing.TB, o Options) *ControlPlane {
	t.Helper()
	if o.Warn == nil {
		// At once: go test shows what a test logs at its end, and this may take minutes.
		o.Warn = func(s string) { _, _ = os.Stderr.WriteString(s + "\n") }
	}
	c, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, p := range append([]*process{c.api}, c.everything...) {
				if p != nil {
					t.Logf("%s's log ends with\n%s", p.name, p.tail())
				}
			}
		}
		c.Stop()
	})
	return c
}
