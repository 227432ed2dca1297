package kubernetes

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// leaseName is the name of the lease that the leader of the agents holds.
const leaseName = "ebpfguard-leader"

// nodesAnnotation is the annotation of the lease by which the leader tells how many nodes there are.
const nodesAnnotation = "ebpfguard.io/nodes"

// lease is one of coordination.k8s.io. client-go's leaderelection is not used: it brings the types of 56 API groups
// along, and every candidate asks for the lease every two seconds, which are 2,500 requests a second of 5,000 agents.
type lease struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              leaseSpec `json:"spec"`
}

type leaseSpec struct {
	HolderIdentity       string            `json:"holderIdentity"`
	LeaseDurationSeconds int32             `json:"leaseDurationSeconds"`
	AcquireTime          *metav1.MicroTime `json:"acquireTime,omitempty"`
	RenewTime            *metav1.MicroTime `json:"renewTime,omitempty"`
	LeaseTransitions     int32             `json:"leaseTransitions"`
}

// election makes one of the agents the leader.
type election struct {
	clients   clients
	namespace string
	identity  string
	pace      *pace
	log       *slog.Logger
	// duration is how long a leader leads after it last said so; it says so every third of that.
	duration time.Duration
	// nodes returns how many nodes there are, while this one leads.
	nodes func() int

	// seen is the lease as it was last seen, and since when it has been like that. Clocks of other nodes may be wrong.
	seen  lease
	since time.Time
}

func (e *election) path() string { return leasesPath(e.namespace) + "/" + leaseName }

func leasesPath(namespace string) string {
	return "/apis/coordination.k8s.io/v1/namespaces/" + namespace + "/leases"
}

// run takes part until the context ends, and calls lead while this agent is the leader, with a context that ends when
// it no longer is.
func (e *election) run(ctx context.Context, lead func(context.Context)) {
	for ctx.Err() == nil {
		wait := e.look(ctx)
		if e.leads() {
			e.log.Info("this agent sums up for the cluster's policies", "lease", e.namespace+"/"+leaseName)
			e.term(ctx, lead)
			continue
		}
		sleep(ctx, wait)
	}
}

func (e *election) leads() bool { return e.seen.Spec.HolderIdentity == e.identity }

// look reads the lease, and takes it if nobody holds it. It returns when to look again.
func (e *election) look(ctx context.Context) (again time.Duration) {
	var now lease
	switch err := e.clients.get(ctx, e.path(), &now); {
	case apierrors.IsNotFound(err):
		now = lease{TypeMeta: metav1.TypeMeta{APIVersion: "coordination.k8s.io/v1", Kind: "Lease"}}
		now.Namespace, now.Name = e.namespace, leaseName
		e.take(ctx, now, e.clients.create, leasesPath(e.namespace))
		return jitter(e.pace.look())
	case err != nil:
		e.log.Debug("the leader's lease cannot be read", "error", err)
		return jitter(max(e.pace.look(), 5*time.Second))
	}
	if n, err := strconv.ParseInt(now.Annotations[nodesAnnotation], 10, 32); err == nil && n > 0 {
		e.pace.nodes.Store(n)
	}
	if now.ResourceVersion != e.seen.ResourceVersion || e.since.IsZero() {
		e.seen, e.since = now, time.Now()
	}
	held := time.Duration(now.Spec.LeaseDurationSeconds) * time.Second
	if now.Spec.HolderIdentity == "" || time.Since(e.since) > held {
		e.take(ctx, now, e.clients.update, e.path())
		return jitter(e.pace.look())
	}
	if now.Spec.RenewTime != nil && time.Since(now.Spec.RenewTime.Time) > held {
		return min(jitter(held), e.pace.look()) // it looks as if the leader were gone: do not wait for the next turn to see
	}
	return jitter(e.pace.look())
}

// take makes this agent the holder, unless another was faster.
func (e *election) take(ctx context.Context, l lease, write func(context.Context, string, any, any) error, path string) {
	now := metav1.NowMicro()
	if l.Spec.HolderIdentity != "" {
		l.Spec.LeaseTransitions++
	}
	l.Spec.HolderIdentity, l.Spec.AcquireTime, l.Spec.RenewTime = e.identity, &now, &now
	l.Spec.LeaseDurationSeconds = int32(max(1, e.duration/time.Second))
	e.put(ctx, l, write, path)
}

// put writes the lease and remembers it if that worked.
func (e *election) put(ctx context.Context, l lease, write func(context.Context, string, any, any) error, path string) bool {
	l.ManagedFields = nil
	ctx, cancel := context.WithTimeout(ctx, e.duration/4)
	defer cancel()
	began := time.Now()
	var written lease
	switch err := write(ctx, path, l, &written); {
	case err == nil:
		e.seen, e.since = written, began
		return true
	case apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err):
		e.seen.Spec.HolderIdentity = "" // somebody else; the next look tells
	default:
		e.log.Debug("the leader's lease cannot be written", "error", err)
	}
	return false
}

// term leads until the lease is lost or the context ends; then it gives the lease back.
func (e *election) term(ctx context.Context, lead func(context.Context)) {
	leading, end := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		lead(leading)
	}()
	for ctx.Err() == nil && e.leads() && time.Since(e.since) < e.duration*2/3 {
		sleep(ctx, jitter(e.duration/4))
		if ctx.Err() == nil {
			e.renew(leading)
		}
	}
	end()
	<-done
	if ctx.Err() != nil && e.leads() {
		e.giveBack() //nolint:contextcheck // the context has ended
		return
	}
	e.log.Info("this agent no longer sums up for the cluster's policies")
	e.seen.Spec.HolderIdentity = ""
}

// renew says that this agent still leads.
func (e *election) renew(ctx context.Context) {
	l, now := e.seen, metav1.NowMicro()
	l.Spec.RenewTime = &now
	if n := e.nodes(); n > 0 {
		e.pace.nodes.Store(int64(n))
		l.Annotations = map[string]string{nodesAnnotation: strconv.Itoa(n)}
	}
	e.put(ctx, l, e.clients.update, e.path())
}

// giveBack lets another lead at once.
func (e *election) giveBack() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	l := e.seen
	l.Spec.HolderIdentity, l.Spec.LeaseDurationSeconds = "", 1
	e.put(ctx, l, e.clients.update, e.path())
}

// sleep waits, or until the context ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
