package kubernetes

import (
	"context"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// objects are those of a kind as far as the API server told of them. client-go's informers would do the same, but wait
// up to a minute after the API server was away: as long a policy that was deleted would stay in force.
type objects struct {
	cache.Store
	transform cache.TransformFunc
	// changed is told what became of an object: nil before is a new one, nil after one that is gone. With neither, any
	// may have changed.
	changed   func(before, after any)
	reflector *cache.Reflector
	synced    atomic.Bool
	failed    func(context.Context, error)
	pace      *pace
}

// Waiting for an API server that does not answer: from rewatchTime to rewatchLate, or on many nodes the time over which they
// spread.
const (
	rewatchTime = 500 * time.Millisecond
	rewatchLate = 2 * time.Second
)

// cacheOf makes the cache of a kind of object. What nobody looks at is not kept.
func (a *Agent) cacheOf(c rest.Interface, resource string, selector fields.Selector, object runtime.Object, slim cache.TransformFunc) *objects {
	transform := func(object any) (any, error) {
		if m, ok := object.(metav1.Object); ok {
			m.SetManagedFields(nil)
			if _, ok := object.(*Event); !ok {
				mirrored := m.GetAnnotations()[mirrorAnnotation]
				m.SetAnnotations(nil)
				if mirrored != "" {
					m.SetAnnotations(map[string]string{mirrorAnnotation: mirrored})
				}
			}
		}
		if slim != nil {
			return slim(object)
		}
		return object, nil
	}
	o := &objects{
		Store: cache.NewStore(cache.DeletionHandlingMetaNamespaceKeyFunc, cache.WithTransformer(transform)), transform: transform,
		changed: func(any, any) {}, failed: a.watchFailed(resource), pace: &a.pace,
	}
	lists := cache.NewListWatchFromClient(c, resource, metav1.NamespaceAll, selector)
	o.reflector = cache.NewReflectorWithOptions(lists, object, o, cache.ReflectorOptions{
		Name: resource, Backoff: &wait.Backoff{Duration: rewatchTime, Cap: rewatchLate, Steps: 10, Factor: 2, Jitter: 1},
	})
	return o
}

// run keeps the cache up to date until the context ends.
func (o *objects) run(ctx context.Context) {
	delay := rewatchTime
	for ctx.Err() == nil {
		began := time.Now()
		if err := o.reflector.ListAndWatchWithContext(ctx); err != nil && ctx.Err() == nil {
			o.failed(ctx, err)
		}
		delay = min(2*delay, max(rewatchLate, o.pace.spread()))
		if time.Since(began) > time.Minute { // it was fine
			delay = rewatchTime
		}
		sleep(ctx, jitter(delay))
	}
}

// HasSynced reports whether the API server told of all objects once.
func (o *objects) HasSynced() bool { return o.synced.Load() }

// Transformer implements [cache.TransformingStore].
func (o *objects) Transformer() cache.TransformFunc { return o.transform }

// Add implements [cache.ReflectorStore].
func (o *objects) Add(object any) error { return o.Update(object) }

// Update implements [cache.ReflectorStore].
func (o *objects) Update(object any) error {
	before, _, err := o.Store.Get(object)
	if err != nil {
		return err
	}
	if err := o.Store.Update(object); err != nil {
		return err
	}
	o.changed(before, object)
	return nil
}

// Delete implements [cache.ReflectorStore].
func (o *objects) Delete(object any) error {
	if err := o.Store.Delete(object); err != nil {
		return err
	}
	o.changed(object, nil)
	return nil
}

// Replace implements [cache.ReflectorStore].
func (o *objects) Replace(all []any, version string) error {
	if err := o.Store.Replace(all, version); err != nil {
		return err
	}
	o.synced.Store(true)
	o.changed(nil, nil)
	return nil
}
