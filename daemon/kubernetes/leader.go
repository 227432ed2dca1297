package kubernetes

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"github.com/ebpfguard/ebpfguard/api/kubernetes/v1alpha1"
)

// leaseTime is how long the leader's lease is valid. A cluster without a leader enforces as before: only the summaries
// in the status of policies are late.
const leaseTime = 15 * time.Second

// leaderManager applies the summary of a policy.
const leaderManager = "ebpfguard-leader"

// lateTime is how long nodes may take for a policy until that is worth a word. On a new node it takes some seconds.
const lateTime = 30 * time.Second

// settledTime is how long a status that was written may take to come back by the watch.
const settledTime = 5 * time.Second

// leader sums up what all nodes tell in the status of each policy.
type leader struct {
	agent *Agent
	count atomic.Int64

	nodes, statuses *objects
	// heard is when the agent of a node was last heard of, by this node's clock.
	heard map[string]heard
	// written are the statuses that were written last.
	written map[types.UID]written
	// begun is since when the present spec of a policy is known.
	begun map[types.UID]begun
	// tallied is when counters alone were written last, and where the next turn begins.
	tallied time.Time
	next    string
}

type heard struct {
	seen metav1.Time
	at   time.Time
}

type begun struct {
	generation int64
	at         time.Time
}

type written struct {
	status v1alpha1.PolicyStatus
	at     time.Time
}

// size is how many nodes there are, as far as the leader knows.
func (l *leader) size() int { return int(l.count.Load()) }

// run sums up until the context ends.
func (l *leader) run(ctx context.Context) {
	l.heard, l.written, l.begun, l.tallied = map[string]heard{}, map[types.UID]written{}, map[types.UID]begun{}, time.Now()
	l.nodes = l.agent.cacheOf(l.agent.clients.core, "nodes", fields.Everything(), &Node{}, nil)
	names := interner{}
	l.statuses = l.agent.cacheOf(l.agent.clients.guard, "nodestatuses", fields.Everything(), &v1alpha1.NodeStatus{}, names.slim)
	done := make(chan struct{})
	defer func() { <-done }()
	go func() {
		defer close(done)
		l.watch(ctx)
	}()
	if !cache.WaitForCacheSync(ctx.Done(), l.nodes.HasSynced, l.statuses.HasSynced) {
		return
	}
	if l.agent.options.PolicyReports {
		reports := newReports(l.agent)
		reporting := make(chan struct{})
		defer func() { <-reporting }()
		go func() {
			defer close(reporting)
			reports.run(ctx)
		}()
	}
	for ctx.Err() == nil {
		l.sum(ctx)
		sleep(ctx, l.agent.pace.summary())
	}
}

// watch keeps the caches until the context ends.
func (l *leader) watch(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.nodes.run(ctx)
	}()
	l.statuses.run(ctx)
	<-done
}

// interner keeps one copy of each name of a policy: each node has all of them.
type interner map[string]string

// slim leaves of a node's status what a summary needs. It is called by one goroutine.
func (n interner) slim(object any) (any, error) {
	if s, ok := object.(*v1alpha1.NodeStatus); ok {
		s.Status.Gaps, s.Status.Conditions = nil, nil
		for i := range s.Status.Policies {
			name := s.Status.Policies[i].Policy
			if n[name] == "" {
				n[name] = strings.Clone(name)
			}
			s.Status.Policies[i].Policy = n[name]
		}
		slices.SortFunc(s.Status.Policies, func(a, b v1alpha1.NodePolicy) int { return strings.Compare(a.Policy, b.Policy) })
	}
	return object, nil
}

// members returns the nodes that ebpfguard can be on, and their names in order.
func (l *leader) members(now time.Time) ([]string, map[string]*member) {
	members := map[string]*member{}
	for _, object := range l.nodes.List() {
		n := object.(*Node)
		if os := n.Labels["kubernetes.io/os"]; os == "" || os == "linux" {
			members[n.Name] = &member{labels: n.Labels}
		}
	}
	l.count.Store(int64(len(members)))
	for _, object := range l.statuses.List() {
		s := object.(*v1alpha1.NodeStatus)
		if m := members[s.Name]; m != nil {
			m.agent, m.policies = true, s.Status.Policies
			m.silent = now.Sub(l.hear(s, now)) > l.agent.pace.silence()
		}
	}
	maps.DeleteFunc(l.heard, func(name string, _ heard) bool { return members[name] == nil })
	return sortedNames(members), members
}

// hear returns when an agent was last heard of. Its clock counts for what this leader did not hear itself only, and
// cannot be ahead.
func (l *leader) hear(s *v1alpha1.NodeStatus, now time.Time) time.Time {
	before, known := l.heard[s.Name]
	switch {
	case !known && s.Status.Seen.Time.Before(now):
		l.heard[s.Name] = heard{s.Status.Seen, s.Status.Seen.Time}
	case !known || !before.seen.Equal(&s.Status.Seen):
		l.heard[s.Name] = heard{s.Status.Seen, now}
	}
	return l.heard[s.Name].at
}

// subject is a policy whose status is summed up.
type subject struct {
	concerned
	kind, path string
	meta       metav1.ObjectMeta
	status     v1alpha1.PolicyStatus
}

// subjects returns all policies by their names in order.
func (l *leader) subjects() []subject {
	var all []subject
	for _, object := range l.agent.policies.List() {
		p := object.(*v1alpha1.Policy)
		name := p.Namespace + "/" + p.Name
		rules, about := p.Words()
		all = append(all, subject{concerned{name: name, uid: p.UID, generation: p.Generation, rules: rules, subject: about}, "Policy", policyPath(p.Namespace, p.Name), p.ObjectMeta, p.Status})
	}
	for _, object := range l.agent.clusterPolicies.List() {
		p := object.(*v1alpha1.ClusterPolicy)
		rules, about := p.Words()
		all = append(all, subject{concerned{name: p.Name, uid: p.UID, generation: p.Generation, nodes: p.Spec.NodeSelector, rules: rules, subject: about}, "ClusterPolicy", clusterPolicyPath(p.Name), p.ObjectMeta, p.Status})
	}
	slices.SortFunc(all, func(a, b subject) int { return strings.Compare(a.name, b.name) })
	return all
}

// sum writes the statuses that changed.
func (l *leader) sum(ctx context.Context) {
	now := time.Now()
	names, members := l.members(now)
	subjects := l.subjects()
	var counted []subject // those whose counters alone changed
	alive := map[types.UID]bool{}
	for _, s := range subjects {
		alive[s.meta.UID] = true
		if w, ok := l.written[s.meta.UID]; ok && now.Sub(w.at) < settledTime {
			s.status = w.status
		}
		s.late = l.isLate(s.meta.UID, s.generation, now)
		after := summarise(s.concerned, names, members, s.status, metav1.NewTime(now))
		what := compare(s.status, after)
		s.status = after
		switch what {
		case changeState:
			l.write(ctx, s)
		case changeCounts:
			counted = append(counted, s)
		}
	}
	maps.DeleteFunc(l.written, func(uid types.UID, _ written) bool { return !alive[uid] })
	maps.DeleteFunc(l.begun, func(uid types.UID, _ begun) bool { return !alive[uid] })
	l.tally(ctx, counted, now)
}

// isLate reports whether all nodes had time to take a generation of a policy.
func (l *leader) isLate(uid types.UID, generation int64, now time.Time) bool {
	b, known := l.begun[uid]
	if !known || b.generation != generation {
		b = begun{generation, now}
		l.begun[uid] = b
	}
	return now.Sub(b.at) > lateTime+3*l.agent.pace.spread()
}

// tally writes statuses whose counters alone changed, as many as the API server has to bear, in turns.
func (l *leader) tally(ctx context.Context, counted []subject, now time.Time) {
	after := now.Sub(l.tallied)
	if len(counted) == 0 || after < l.agent.pace.counts()/2 {
		return
	}
	l.tallied = now
	first, _ := slices.BinarySearchFunc(counted, l.next, func(s subject, name string) int { return strings.Compare(s.name, name) })
	for i := range min(len(counted), l.agent.pace.tallies(after)) {
		s := counted[(first+i)%len(counted)]
		l.next = s.name + "\x00" // the one after it
		l.write(ctx, s)
	}
}

// write makes a summary the status of a policy.
func (l *leader) write(ctx context.Context, s subject) {
	object := applied{ofKind(s.kind), appliedMeta{Namespace: s.meta.Namespace, Name: s.meta.Name, UID: s.meta.UID}, s.status}
	err := l.agent.clients.apply(ctx, s.path+"/status", leaderManager, object, nil)
	switch {
	case err == nil:
		l.written[s.meta.UID] = written{s.status, time.Now()}
	case apierrors.IsNotFound(err) || apierrors.IsConflict(err) || ctx.Err() != nil: // it is deleted
	default:
		l.agent.options.Log.Warn("the status of a policy cannot be written", "policy", s.name, "error", err)
	}
}
