package enrich

import (
	"os/user"
	"strconv"
	"sync"
	"time"
)

// Users finds the names of users. It keeps what it found, also that there is none, for
// a while: names are changed rarely.
type Users struct {
	// Lookup finds the name of a user; nil asks the system.
	Lookup func(uid uint32) string

	mu    sync.Mutex
	names map[uint32]string
	since time.Time
}

// How many names are kept, and for how long.
const (
	maxUsers = 4096
	keepFor  = time.Minute
)

// Name returns the name of a user; empty when it has none.
func (u *Users) Name(uid uint32) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	if name, ok := u.names[uid]; ok && time.Since(u.since) < keepFor {
		return name
	}
	if u.names == nil || len(u.names) >= maxUsers || time.Since(u.since) >= keepFor {
		u.names, u.since = map[uint32]string{}, time.Now()
	}
	lookup := u.Lookup
	if lookup == nil {
		lookup = systemUser
	}
	name := lookup(uid)
	u.names[uid] = name
	return name
}

func systemUser(uid uint32) string {
	found, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
	if err != nil {
		return ""
	}
	return found.Username
}
