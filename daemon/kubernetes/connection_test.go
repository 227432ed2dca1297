package kubernetes

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

type trip func(*http.Request) (*http.Response, error)

func (f trip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestConnection tells once that the API server is lost, and once that it is back.
func TestConnection(t *testing.T) {
	var told []string
	status, failure := 0, errors.New("connection refused")
	c := &connection{
		tell: func(about string, err error) {
			if err == nil {
				about = "solved " + about
			}
			told = append(told, about)
		},
		next: trip(func(*http.Request) (*http.Response, error) {
			if status == 0 {
				return nil, failure
			}
			return &http.Response{StatusCode: status, Status: http.StatusText(status), Body: http.NoBody}, nil
		}),
	}
	ask := func(ctx context.Context, path string, n int) {
		t.Helper()
		for range n {
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://192.0.2.1"+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if response, err := c.RoundTrip(r); err == nil {
				response.Body.Close()
			}
		}
	}
	want := func(text string) {
		t.Helper()
		if got := strings.Join(told, ", "); got != text {
			t.Errorf("told %q, want %q", got, text)
		}
		told = nil
	}
	ask(t.Context(), "/x", 1)
	want("") // once is nothing
	c.failing = time.Now().Add(-lostTime)
	ask(t.Context(), "/x", 100)
	want(problemReach)
	status = http.StatusServiceUnavailable
	ask(t.Context(), "/x", 1)
	want("")
	status = http.StatusForbidden
	ask(t.Context(), "/x", 10)
	want("solved " + problemReach)
	status = http.StatusOK
	ask(t.Context(), "/api/v1/pods?watch=true", 1)
	want("solved " + problemWatch + "pods")

	// Who asked no longer wants to know: that says nothing of the API server.
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	status, c.failing = 0, time.Now().Add(-lostTime)
	ask(ended, "/x", 10)
	want("")
}

// TestClientLog hands each message on once a minute, one level lower.
func TestClientLog(t *testing.T) {
	var out bytes.Buffer
	h := clientLog{&sync.Mutex{}, map[string]time.Time{}, slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelWarn})}
	log := slog.New(h)
	for range 50 {
		log.Error("watch failed", "error", "x")
		log.Warn("retry")
	}
	if got := strings.Count(out.String(), "\n"); got != 1 || !strings.Contains(out.String(), "level=WARN msg=\"watch failed\" from=client-go error=x") {
		t.Errorf("%d lines:\n%s", got, out.String())
	}
}
