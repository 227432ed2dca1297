package daemon

import (
	"strings"
	"testing"
)

// TestRelinked applies the policies again, once, when a symbolic link on one of their paths
// leads elsewhere.
func TestRelinked(t *testing.T) {
	w := newWorld(t)
	w.write("a.yaml", bind("a", 22))
	i := w.start()
	i.want("a")
	w.guard.mu.Lock()
	before := w.guard.publications
	w.guard.relinked = []string{"/opt/app"}
	w.guard.mu.Unlock()
	i.await("the policies applied again", func() bool { return strings.Contains(w.log.String(), "/opt/app") })
	i.want("a")
	w.guard.mu.Lock()
	defer w.guard.mu.Unlock()
	if w.guard.publications != before+1 {
		t.Errorf("published %d times", w.guard.publications-before)
	}
}
