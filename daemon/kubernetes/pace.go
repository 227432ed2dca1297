package kubernetes

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// pace says how often an agent asks something of the API server. All agents of a cluster share one, so each asks the
// more rarely, the more of them there are; the leader tells how many by an annotation of its lease. With these figures
// the agents of any cluster make together at most
//
//   - 500 writes a second while a change becomes known (as many as the leases of the kubelets of 5,000 nodes),
//   - 50 writes a second because counters changed,
//   - 17 writes a second to say that they are still there,
//   - 20 reads a second of the leader's lease.
type pace struct{ nodes atomic.Int64 }

// of returns a time that is share times the number of nodes, within limits.
func (p *pace) of(share, least, most time.Duration) time.Duration {
	return min(max(time.Duration(p.nodes.Load())*share, least), most)
}

// spread is the time over which the agents spread what all of them have to write.
func (p *pace) spread() time.Duration {
	return p.of(2*time.Millisecond, 200*time.Millisecond, 30*time.Second)
}

// counts is how often changed counters are written.
func (p *pace) counts() time.Duration {
	return p.of(20*time.Millisecond, 10*time.Second, 10*time.Minute)
}

// heartbeat is how often an agent writes that it is still there.
func (p *pace) heartbeat() time.Duration {
	return p.of(60*time.Millisecond, 30*time.Second, 15*time.Minute)
}

// silence is how long an agent may write nothing until nobody can tell what its node does.
func (p *pace) silence() time.Duration { return 3*p.heartbeat() + 2*p.spread() }

// look is how often an agent looks whether there is a leader.
func (p *pace) look() time.Duration { return p.of(50*time.Millisecond, 5*time.Second, 10*time.Minute) }

// summary is how often the leader sums up. What it writes is told to all agents, for they watch the policies: where only
// counters changed it writes so many statuses a second that all agents together are told of tally ones.
func (p *pace) summary() time.Duration { return p.of(2*time.Millisecond, time.Second, 30*time.Second) }

const tally = 2000

// tallies is how many statuses whose counters alone changed may be written after a time, at least one.
func (p *pace) tallies(after time.Duration) int {
	return max(1, int(tally*after.Seconds()/float64(max(p.nodes.Load(), 1))))
}

// jitter returns between 80 and 120 % of a time, so that agents that started together do not stay together.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64())) //nolint:gosec // nothing secret
}

// within returns any time up to that.
func within(d time.Duration) time.Duration {
	return time.Duration(float64(d) * rand.Float64()) //nolint:gosec // nothing secret
}
