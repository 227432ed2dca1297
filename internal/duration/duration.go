// Package duration writes durations as people do: 100d and 8m23s, not 2400h0m0s.
package duration

import (
	"fmt"
	"math"
	"strings"
	"time"
)

const day = 24 * time.Hour

// Text returns a duration, with all its units that are not 0. What the flags of the command read it
// can be pasted into.
func Text(d time.Duration) string {
	switch {
	case d == 0:
		return "0s"
	case d < 0:
		return "-" + Text(-max(d, -math.MaxInt64))
	}
	var b strings.Builder
	for _, unit := range []struct {
		size time.Duration
		name string
	}{{day, "d"}, {time.Hour, "h"}, {time.Minute, "m"}} {
		if n := d / unit.size; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, unit.name)
			d %= unit.size
		}
	}
	if d > 0 {
		b.WriteString(d.String())
	}
	return b.String()
}

// Rough returns a duration in whole seconds and its two greatest units, such as 2d1h: how long
// something took or has left. What is over has 0s left.
func Rough(d time.Duration) string {
	d = max(d, 0).Round(time.Second)
	switch {
	case d >= day:
		d = d.Truncate(time.Hour)
	case d >= time.Hour:
		d = d.Truncate(time.Minute)
	}
	return Text(d)
}
