// Package journald is the sink that sends alerts to journald.
package journald

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
)

// Socket is where journald takes messages.
const Socket = "/run/systemd/journal/socket"

// Sink writes alerts to journald, with the fields of docs/alerts.md.
type Sink struct {
	conn   *net.UnixConn
	socket *net.UnixAddr
}

// New returns a sink that writes to journald's socket, [Socket] if
// empty. Whether journald runs shows at the first alert: it may be started again
// at any time.
func New(socket string) (*Sink, error) {
	if socket == "" {
		socket = Socket
	}
	// Not connected, so that it does not matter when journald is restarted.
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("open a socket for journald: %w", err)
	}
	return &Sink{conn, &net.UnixAddr{Name: socket, Net: "unixgram"}}, nil
}

// Close closes the socket.
func (j *Sink) Close() error { return j.conn.Close() }

// Write sends one message.
func (j *Sink) Write(ctx context.Context, alert ebpfguard.Alert) error {
	message, err := journalMessage(alert)
	if err != nil {
		return err
	}
	if err := j.conn.SetWriteDeadline(time.Time{}); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = j.conn.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	_, _, err = j.conn.WriteMsgUnix(message, nil, j.socket)
	if errors.Is(err, syscall.EMSGSIZE) || errors.Is(err, syscall.ENOBUFS) {
		err = j.writeFile(message)
	}
	if err != nil {
		return fmt.Errorf("write to journald: %w; is systemd-journald running?", err)
	}
	return nil
}

// journalFields is a message in journald's native protocol.
type journalFields struct{ bytes.Buffer }

// add adds a field. Values are framed by their length where they could be taken
// for another field.
func (f *journalFields) add(name, value string) {
	if !strings.Contains(value, "\n") {
		f.WriteString(name + "=" + value + "\n")
		return
	}
	f.WriteString(name + "\n")
	f.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(value))))
	f.WriteString(value + "\n")
}

// known adds a field that is left out when it is empty.
func (f *journalFields) known(name, value string) {
	if value != "" {
		f.add(name, value)
	}
}

func journalMessage(alert ebpfguard.Alert) ([]byte, error) {
	data, err := alert.MarshalJSON()
	if err != nil {
		return nil, err
	}
	var keys struct {
		Object map[string]any `json:"object"`
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(&keys); err != nil {
		return nil, fmt.Errorf("an alert's JSON: %w", err)
	}
	c := alert.Context()
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	var f journalFields
	f.add("MESSAGE", alert.String())
	f.add("PRIORITY", strconv.Itoa(priority(c)))
	f.add("SYSLOG_IDENTIFIER", "ebpfguard")
	f.add("EBPFGUARD_OPERATION", string(c.Operation))
	f.add("EBPFGUARD_HOOK", c.Hook)
	f.add("EBPFGUARD_VERDICT", c.Verdict.String())
	f.add("EBPFGUARD_UNDECIDED", strconv.FormatBool(c.Undecided))
	f.known("EBPFGUARD_POLICY", c.Policy)
	f.add("EBPFGUARD_RULE", strconv.Itoa(c.Rule))
	f.known("EBPFGUARD_RULE_MESSAGE", c.Message)
	f.known("EBPFGUARD_SEVERITY", string(c.Severity))
	for _, tag := range c.Tags {
		f.add("EBPFGUARD_TAG", tag)
	}
	f.add("EBPFGUARD_REVISION", number(uint64(c.Revision)))
	f.add("EBPFGUARD_ID", c.ID)
	f.add("EBPFGUARD_SEQUENCE", number(c.Sequence))
	f.add("EBPFGUARD_COUNT", number(max(c.Count, 1)))
	f.add("EBPFGUARD_PID", number(uint64(c.PID)))
	f.add("EBPFGUARD_TID", number(uint64(c.TID)))
	f.add("EBPFGUARD_PPID", number(uint64(c.PPID)))
	f.add("EBPFGUARD_UID", number(uint64(c.UID)))
	f.add("EBPFGUARD_GID", number(uint64(c.GID)))
	f.known("EBPFGUARD_USER", c.User)
	f.add("EBPFGUARD_COMM", c.Comm)
	f.known("EBPFGUARD_BINARY", c.Binary)
	f.known("EBPFGUARD_PARENT", c.ParentBinary)
	f.known("EBPFGUARD_CGROUP", c.Cgroup)
	f.known("EBPFGUARD_UNIT", c.Unit)
	f.known("EBPFGUARD_CONTAINER_ID", c.ContainerID)
	if k := c.Process.Container; k != nil {
		f.known("EBPFGUARD_CONTAINER", k.Name)
		f.known("EBPFGUARD_IMAGE", k.Image)
		if k.Pod != nil {
			f.known("EBPFGUARD_POD_NAMESPACE", k.Pod.Namespace)
			f.known("EBPFGUARD_POD", k.Pod.Name)
		}
	}
	for key, value := range keys.Object {
		name := "EBPFGUARD_OBJECT_" + strings.ToUpper(key)
		if list, ok := value.([]any); ok {
			for _, one := range list {
				f.add(name, fmt.Sprint(one))
			}
			continue
		}
		f.add(name, fmt.Sprint(value))
	}
	f.add("EBPFGUARD_ALERT", string(data))
	return f.Bytes(), nil
}

// priority returns the syslog priority: by the rule's severity, or else by the
// verdict.
func priority(c ebpfguard.AlertContext) int {
	const (
		critical = iota + 2
		failure
		warning
		notice
		info
	)
	switch c.Severity {
	case policy.SeverityCritical:
		return critical
	case policy.SeverityHigh:
		return failure
	case policy.SeverityMedium:
		return warning
	case policy.SeverityLow:
		return notice
	case policy.SeverityInfo:
		return info
	}
	switch c.Verdict {
	case policy.Kill:
		return failure
	case policy.Deny:
		return warning
	}
	return notice
}
