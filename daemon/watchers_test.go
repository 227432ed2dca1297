package daemon

import "testing"

// TestWatchers expects that no user takes all there is, and that root can always look.
func TestWatchers(t *testing.T) {
	var w watchers
	var leave func()
	for range maxWatchers {
		var err error
		if leave, err = w.enter(7); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.enter(7); err == nil {
		t.Error("a user has more")
	}
	for _, uid := range []uint32{8, 0} {
		if _, err := w.enter(uid); err != nil {
			t.Errorf("user %d: %v", uid, err)
		}
	}
	leave()
	if _, err := w.enter(7); err != nil {
		t.Errorf("after one has ended: %v", err)
	}
	for range 2 * maxWatchers {
		if _, err := w.enter(0); err != nil {
			t.Fatal(err)
		}
	}
}
