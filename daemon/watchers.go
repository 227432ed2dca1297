package daemon

import (
	"fmt"
	"sync"
)

// maxWatchers is how many watchers a user may have who is not root: what all may have together is
// bounded, and none may take it from the others.
const maxWatchers = 16

// watchers counts who follows the alerts.
type watchers struct {
	mu sync.Mutex
	of map[uint32]int
}

// enter counts one more of a user, until leave is called.
func (w *watchers) enter(uid uint32) (leave func(), err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if uid != 0 && w.of[uid] >= maxWatchers {
		return nil, fmt.Errorf("user %d follows the alerts %d times already, which is the most; end one of them", uid, maxWatchers)
	}
	if w.of == nil {
		w.of = map[uint32]int{}
	}
	w.of[uid]++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.of[uid]--; w.of[uid] == 0 {
			delete(w.of, uid)
		}
	}, nil
}
