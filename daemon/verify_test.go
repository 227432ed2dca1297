package daemon

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// tamperedGuard tells once that something was written.
type tamperedGuard struct {
	*memory
	wrong atomic.Pointer[string]
}

func (g *tamperedGuard) Verify() ([]string, error) {
	if wrong := g.wrong.Swap(nil); wrong != nil {
		return []string{*wrong}, errors.New("no")
	}
	return nil, nil
}

// TestVerify expects that the status tells for an hour that somebody wrote the guard's maps.
func TestVerify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, err := New(newWorld(t).config, Options{})
		if err != nil {
			t.Fatal(err)
		}
		g := &tamperedGuard{memory: &memory{}}
		d.guard = g
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { d.verify(ctx); close(done) }()
		told := func() string { return strings.Join(d.problemTexts(), "\n") }
		time.Sleep(2 * time.Second)
		if told() != "" {
			t.Errorf("told is %s", told())
		}
		text := "the word was 0"
		g.wrong.Store(&text)
		time.Sleep(verifyInterval + time.Millisecond)
		if !strings.Contains(told(), "something else than the policies was in force: the word was 0; it could NOT be put right: no") {
			t.Errorf("told is %q", told())
		}
		time.Sleep(tamperedTime + 2*verifyInterval)
		if told() != "" {
			t.Errorf("told is %s", told())
		}
		cancel()
		<-done
		d.expiry.Stop()
		d.tidy.Stop()
	})
}
