package ebpfguard

import (
	"fmt"

	"github.com/ebpfguard/ebpfguard/policy"
)

// TaskSetnice is a policy for the operation task_setnice: a process changes the
// niceness of one.
type TaskSetnice Rule[policy.NicenessPattern]

// TaskSetniceAlert tells that a change of the niceness was denied or audited.
type TaskSetniceAlert struct {
	AlertContext
	NicenessObject // Level
}

// WithContext returns the alert with another context.
func (a TaskSetniceAlert) WithContext(c AlertContext) Alert {
	a.AlertContext = c
	return a
}

// Object returns the NicenessObject.
func (a TaskSetniceAlert) Object() any { return a.NicenessObject }

// MarshalJSON returns the alert as docs/alerts.md describes it.
func (a TaskSetniceAlert) MarshalJSON() ([]byte, error) { return a.marshal(a.NicenessObject) }

// String returns the alert as a line of text.
func (a TaskSetniceAlert) String() string {
	return a.AlertContext.text(fmt.Sprintf("to level %d", a.Level))
}

var taskSetnice = operation{
	name:  policy.TaskSetnice,
	hooks: []hook{{name: "task_setnice", effect: "setpriority(2), nice(2)"}},
	open:  []way{{effect: "sched_setattr(2)", reason: "the kernel asks another hook"}},
	alert: func(c AlertContext, r record) Alert { return TaskSetniceAlert{c, NicenessObject{r.Flags}} },
}

// AttachTaskSetnice loads and attaches what enforces task_setnice. Everything is
// allowed until a policy is added.
func (m *Manager) AttachTaskSetnice() (*Hook[TaskSetnice, TaskSetniceAlert], error) {
	return attach[TaskSetnice, TaskSetniceAlert](m, &taskSetnice,
		func(p TaskSetnice) policy.Policy { return Rule[policy.NicenessPattern](p).policy(policy.TaskSetnice) },
		func(p policy.Policy, r policy.Rule) TaskSetnice {
			return TaskSetnice(ruleOf[policy.NicenessPattern](p, r))
		})
}

// NicenessObject is the object of a [TaskSetniceAlert].
type NicenessObject struct {
	// Level is the niceness after, plus 20.
	Level uint32 `json:"level"`
}
