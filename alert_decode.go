package ebpfguard

import (
	"encoding/json"
	"fmt"
	"reflect"
	"time"

	"github.com/ebpfguard/ebpfguard/policy"
)

// UnmarshalAlert reads an alert that MarshalJSON wrote, such as a line of the daemon's output or of a
// Watch: it returns the type of the alert's operation, for instance [SocketBindAlert]. Keys that this
// version does not know are ignored; an operation that it does not know is an error that wraps
// [ErrNotSupported].
func UnmarshalAlert(data []byte) (Alert, error) {
	var form alertForm[json.RawMessage]
	if err := json.Unmarshal(data, &form); err != nil {
		return nil, fmt.Errorf("reading an alert: %w", err)
	}
	op, err := operationByName(form.Operation)
	if err != nil {
		return nil, fmt.Errorf("reading an alert: %w", err)
	}
	c, err := form.context()
	if err != nil {
		return nil, fmt.Errorf("reading an alert: %w", err)
	}
	// An alert is its context and its object.
	alert := reflect.New(reflect.TypeOf(op.alert(AlertContext{}, record{}))).Elem()
	for i := range alert.NumField() {
		field := alert.Field(i)
		if field.Type() == reflect.TypeFor[AlertContext]() {
			field.Set(reflect.ValueOf(c))
		} else if err := readObject(form.Object, field.Addr().Interface()); err != nil {
			return nil, fmt.Errorf("reading the object of an alert: %w", err)
		}
	}
	return alert.Interface().(Alert), nil
}

// context returns what alerts of all operations have in common.
func (f alertForm[O]) context() (AlertContext, error) {
	p := f.Process
	c := AlertContext{
		ID: f.ID, Host: f.Host, BootID: f.BootID, Sequence: f.Sequence, Operation: f.Operation, Hook: f.Hook, Undecided: f.Undecided,
		Policy: f.Policy, Rule: f.Rule, Message: f.Message, Severity: f.Severity, Tags: f.Tags, Revision: f.Revision, Count: f.Count,
		Process: Process{
			PID: p.PID, TID: p.TID, PPID: p.PPID, UID: p.UID, GID: p.GID, Comm: p.Comm, Binary: p.Binary, ParentBinary: p.Parent,
			CgroupID: p.CgroupID, Cgroup: p.Cgroup, Namespaces: p.Namespaces, StartTime: p.StartTime,
			Container: p.Container, FirstContainer: p.FirstContainer, Unidentified: p.Unidentified, Args: p.Args, User: p.User,
			Unit: p.Unit, ContainerID: p.ContainerID, Ancestors: p.Ancestors,
		},
	}
	for _, v := range []policy.Verdict{policy.Audit, policy.Deny, policy.Kill} {
		if v.String() == f.Verdict {
			c.Verdict = v
		}
	}
	if c.Verdict == 0 {
		return c, fmt.Errorf("unknown verdict %q", f.Verdict)
	}
	for _, at := range []struct {
		text string
		to   *time.Time
	}{{f.Time, &c.Time}, {f.Last, &c.Last}} {
		if at.text == "" && at.to == &c.Last {
			continue
		}
		var err error
		if *at.to, err = time.Parse(time.RFC3339Nano, at.text); err != nil {
			return c, err
		}
	}
	return c, nil
}

// readObject reads an object as its MarshalJSON wrote it. It is no method: alerts would get it from the
// objects that are embedded in them.
func readObject(data []byte, to any) error {
	switch to := to.(type) {
	case *FileObject:
		var form struct {
			Path   string   `json:"path"`
			Access []string `json:"access"`
		}
		if err := json.Unmarshal(data, &form); err != nil {
			return err
		}
		access, err := readWords(form.Access, policy.ParseAccess)
		*to = FileObject{form.Path, access}
		return err
	case *MountObject:
		var form struct {
			Source string   `json:"source"`
			Target string   `json:"target"`
			Type   string   `json:"type"`
			Flags  []string `json:"flags"`
		}
		if err := json.Unmarshal(data, &form); err != nil {
			return err
		}
		flags, err := readWords(form.Flags, policy.ParseMountFlag)
		*to = MountObject{form.Source, form.Target, form.Type, flags}
		return err
	}
	return json.Unmarshal(data, to)
}

// readWords reads a set of bits by their names.
func readWords[T policy.Access | policy.MountFlags](names []string, parse func(string) (T, error)) (T, error) {
	var all T
	for _, name := range names {
		if name == "" { // the empty set
			continue
		}
		one, err := parse(name)
		if err != nil {
			return 0, err
		}
		all |= one
	}
	return all, nil
}
