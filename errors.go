package ebpfguard

import (
	"errors"
	"fmt"

	"github.com/ebpfguard/ebpfguard/internal/compile"
)

var (
	// ErrNotSupported is wrapped by errors that say what this kernel or this
	// version of ebpfguard cannot do. The text ends with what to do about it.
	ErrNotSupported = errors.New("not supported")
	// ErrNotAttached is wrapped when an operation is used that has not been
	// attached, or not any more.
	ErrNotAttached = errors.New("the operation is not attached")
	// ErrNoPolicy is wrapped when there is no policy of that name.
	ErrNoPolicy = errors.New("no such policy")
	// ErrTooLarge is wrapped when a policy set does not fit into the tables.
	ErrTooLarge = compile.ErrTooLarge
	// ErrClosed is wrapped by what is called on a closed [Manager].
	ErrClosed = errors.New("the manager is closed")
)

// LostAlertsError is yielded by an iterator over alerts in place of alerts that
// it did not take in time. Their verdicts stood.
type LostAlertsError struct{ Count uint64 }

func (e *LostAlertsError) Error() string {
	return fmt.Sprintf("%d alerts were not taken in time and are lost", e.Count)
}
