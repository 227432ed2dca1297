package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/klog/v2"
)

// What an agent's problems are about.
const (
	problemReach  = "API server"
	problemWatch  = "watching " // and what
	problemStatus = "status of the node"
	problemReport = "policy reports"
	problemEvents = "events"
)

// connection knows whether the API server answers. One log line says that it is lost, and one that it is back: the
// retries of five watches would be hundreds.
type connection struct {
	tell func(about string, err error)
	next http.RoundTripper
	mu   sync.Mutex
	lost bool
	// failing is since when nothing was answered: a connection that breaks once is not worth a word.
	failing time.Time
}

// lostTime is how long nothing may be answered until that is a problem.
const lostTime = 3 * time.Second

// RoundTrip implements [http.RoundTripper].
func (c *connection) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := c.next.RoundTrip(r)
	switch {
	case err != nil && errors.Is(r.Context().Err(), context.Canceled): // who asked no longer wants to know
	case err != nil:
		c.failed(err)
	case response.StatusCode >= http.StatusBadGateway && response.StatusCode <= http.StatusGatewayTimeout: // what is before it says so
		c.failed(fmt.Errorf("it answers %s", response.Status))
	default:
		c.answered()
		if response.StatusCode == http.StatusOK && r.URL.Query().Has("watch") {
			c.tell(problemWatch+path.Base(r.URL.Path), nil)
		}
	}
	return response, err
}

func (c *connection) failed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failing.IsZero() {
		c.failing = time.Now()
	}
	if c.lost || time.Since(c.failing) < lostTime {
		return
	}
	c.lost = true
	c.tell(problemReach, fmt.Errorf("the API server does not answer; the policies of the cluster that were in force last stay in force, and changes wait until it is back: %w", err))
}

func (c *connection) answered() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failing = time.Time{}
	if c.lost {
		c.lost = false
		c.tell(problemReach, nil)
	}
}

// watchFailed tells why a kind of object cannot be watched, if that is not just because nothing answers.
func (a *Agent) watchFailed(resource string) func(context.Context, error) {
	return func(_ context.Context, err error) {
		switch {
		case apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err):
			a.options.Problem(problemWatch+resource, fmt.Errorf("the API server does not let the agent watch %s, so changes do not come into force on this node; give its service account the right to get, list and watch them: %w", resource, err))
		case apierrors.IsNotFound(err):
			a.options.Problem(problemWatch+resource, fmt.Errorf("the API server has no %s, so changes do not come into force on this node; install the custom resource definitions of this version: %w", resource, err))
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || apierrors.IsResourceExpired(err) || apierrors.IsGone(err): // it begins again
		default:
			a.options.Log.Debug("watching", "resource", resource, "error", err)
		}
	}
}

// clientLog hands client-go's messages on, one level lower: what they are about is a retry to come. Of those with the
// same text one a minute is enough.
type clientLog struct {
	mu   *sync.Mutex
	last map[string]time.Time
	slog.Handler
}

const (
	clientLogTime = time.Minute
	clientLogMost = 64
)

// Enabled implements [slog.Handler].
func (h clientLog) Enabled(ctx context.Context, l slog.Level) bool {
	return h.Handler.Enabled(ctx, lower(l))
}

func lower(l slog.Level) slog.Level { return l - (slog.LevelWarn - slog.LevelInfo) }

// Handle implements [slog.Handler].
func (h clientLog) Handle(ctx context.Context, r slog.Record) error {
	h.mu.Lock()
	last, known := h.last[r.Message]
	if !known && len(h.last) >= clientLogMost {
		clear(h.last)
	}
	repeated := known && r.Time.Sub(last) < clientLogTime
	if !repeated {
		h.last[r.Message] = r.Time
	}
	h.mu.Unlock()
	if repeated {
		return nil
	}
	lowered := slog.NewRecord(r.Time, lower(r.Level), r.Message, r.PC)
	lowered.AddAttrs(slog.String("from", "client-go"))
	r.Attrs(func(a slog.Attr) bool { lowered.AddAttrs(a); return true })
	return h.Handler.Handle(ctx, lowered)
}

// WithAttrs implements [slog.Handler].
func (h clientLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.Handler = h.Handler.WithAttrs(attrs)
	return h
}

// WithGroup implements [slog.Handler].
func (h clientLog) WithGroup(name string) slog.Handler {
	h.Handler = h.Handler.WithGroup(name)
	return h
}

// current is where client-go's messages go. client-go has one logger for all of a process, which may be set before
// anything is logged only.
var (
	current atomic.Pointer[slog.Handler]
	setLog  sync.Once
)

type currentLog struct {
	change func(slog.Handler) slog.Handler
}

func (c currentLog) handler() slog.Handler { return c.change(*current.Load()) }

// Enabled implements [slog.Handler].
func (c currentLog) Enabled(ctx context.Context, l slog.Level) bool {
	return c.handler().Enabled(ctx, l)
}

// Handle implements [slog.Handler].
func (c currentLog) Handle(ctx context.Context, r slog.Record) error {
	return c.handler().Handle(ctx, r)
}

// WithAttrs implements [slog.Handler].
func (c currentLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return currentLog{func(h slog.Handler) slog.Handler { return c.change(h).WithAttrs(attrs) }}
}

// WithGroup implements [slog.Handler].
func (c currentLog) WithGroup(name string) slog.Handler {
	return currentLog{func(h slog.Handler) slog.Handler { return c.change(h).WithGroup(name) }}
}

// logTo makes client-go's messages go there from now on.
func logTo(log *slog.Logger) {
	var h slog.Handler = clientLog{&sync.Mutex{}, map[string]time.Time{}, log.Handler()}
	current.Store(&h)
	setLog.Do(func() {
		klog.SetSlogLogger(slog.New(currentLog{func(h slog.Handler) slog.Handler { return h }}))
	})
}
