package coverage

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// judge runs a way and its bystander.
func (r *runner) judge(tr *trial, act *actor, policy bool) (Outcome, string) {
	if tr.missing != "" {
		return NotOffered, tr.missing
	}
	if tr.broken != nil {
		return Failed, tr.broken.Error()
	}
	rep, err := r.do(tr.way, tr.protected, act)
	if err != nil {
		return Failed, err.Error()
	}
	outcome, why := judgement(tr.way, r.o.Kernel, rep, policy)
	if outcome == Failed {
		return outcome, why
	}
	if rep, err = r.do(tr.way, tr.free, act); err == nil && rep.Errno != 0 {
		err = rep
	}
	if err != nil {
		return Failed, "bystander: " + err.Error()
	}
	return outcome, why
}

// judgement says what a report means.
func judgement(w Way, kernel string, rep report, policy bool) (Outcome, string) {
	reason, documented := w.NotCovered[kernel]
	if !documented {
		reason, documented = w.NotCovered["*"]
	}
	switch {
	case !policy && rep.Errno == 0:
		return Control, ""
	case !policy:
		return Failed, "without a policy: " + rep.Error()
	case rep.Errno == 0 && documented:
		return NotCovered, reason
	case rep.Errno == 0:
		return Passed, "the effect was reached"
	case rep.Errno == unix.EPERM && rep.Step:
		return Refused, "at an earlier step: " + rep.Text
	case rep.Errno == unix.EPERM:
		return Refused, ""
	}
	return Failed, rep.Error()
}

// Error makes a report an error.
func (r report) Error() string {
	text := fmt.Sprintf("%s: %s", unix.ErrnoName(r.Errno), r.Text)
	if r.Step {
		return "an earlier step: " + text
	}
	return text
}
