package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ebpfguard/ebpfguard"
)

// verifier is a guard that can compare what is enforced with what was applied, as [ebpfguard.Manager]
// can.
type verifier interface{ Verify() ([]string, error) }

const (
	// verifyInterval is how often the guard is verified.
	verifyInterval = time.Second
	// tamperedTime is how long the status tells of what was found and put right.
	tamperedTime = time.Hour
)

// verify looks each second whether the kernel enforces what was published, until the context ends.
func (d *Daemon) verify(ctx context.Context) {
	guard, ok := d.guard.(verifier)
	if !ok {
		return
	}
	ticker := time.NewTicker(verifyInterval)
	defer ticker.Stop()
	var found time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			wrong, err := guard.Verify()
			switch {
			case errors.Is(err, ebpfguard.ErrClosed):
				return
			case len(wrong) > 0 || err != nil:
				found = now
				d.tampered(wrong, err)
			case !found.IsZero() && now.Sub(found) > tamperedTime:
				found = time.Time{}
				d.solved(problemTampered)
			}
		}
	}
}

// tampered tells that somebody wrote the guard's maps, or stopped its programs.
func (d *Daemon) tampered(wrong []string, err error) {
	what := "it was put right within a second"
	if err != nil {
		what = "it could NOT be put right: " + err.Error()
	}
	d.problem(problemTampered, fmt.Errorf("at %s something else than the policies was in force: %s; %s. Root, or a process with CAP_SYS_ADMIN, did that: find out who, and take the capability away",
		time.Now().UTC().Format(time.RFC3339), strings.Join(wrong, "; "), what))
}
