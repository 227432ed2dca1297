package lossy

import (
	"context"
	"fmt"
	"slices"
	"testing"
)

// TestPlace expects losses where they happened.
func TestPlace(t *testing.T) {
	q := New[int](3)
	var got []string
	// take takes so many entries.
	take := func(most int) {
		ended := q.Each(t.Context(), func(v int, lost uint64) bool {
			text := fmt.Sprint(v)
			if lost > 0 {
				text = fmt.Sprintf("lost %d", lost)
			}
			got = append(got, text)
			most--
			return most > 0
		})
		if !ended && most > 0 {
			t.Error("it ended early")
		}
	}
	for v := range 6 { // 3 to 5 are lost
		q.Put(v)
	}
	take(2)
	q.Put(6) // after the loss
	q.Put(7)
	q.Put(8)
	take(5)
	q.Lose(2)
	q.Put(9)
	for v := range 4 {
		q.Put(10 + v) // 11 to 13 are lost
	}
	take(4)
	q.Put(14)
	q.Close()
	q.Put(15)
	take(100)
	want := []string{"0", "1", "2", "lost 3", "6", "7", "lost 1", "lost 2", "9", "10", "lost 3", "14"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if q := New[int](1); q.Each(ctx, func(int, uint64) bool { t.Error("something came"); return true }) {
		t.Error("it was taken to its end")
	}
}
