//go:build linux

package journald

import (
	"context"
	"encoding/binary"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
)

// fileAlert is an alert about a file of the process.
func fileAlert(pid uint32, path string) ebpfguard.FileOpenAlert {
	return ebpfguard.FileOpenAlert{
		AlertContext: ebpfguard.AlertContext{
			ID: "1-2", Time: time.Date(2026, 11, 22, 15, 4, 5, 0, time.UTC), Operation: policy.FileOpen, Hook: "file_open",
			Verdict: policy.Deny, Policy: "etc/shadow", Count: 1, Process: ebpfguard.Process{PID: pid, Binary: "/usr/bin/cat"},
		},
		FileObject: ebpfguard.FileObject{Path: path, Access: policy.Read},
	}
}

// listen returns a socket that is read as journald reads its own.
func listen(t *testing.T) (string, *net.UnixConn) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "socket")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return path, conn
}

// receive returns the fields of the next message, and whether it came in a file.
func receive(t *testing.T, conn *net.UnixConn) (fields map[string][]string, sealed bool) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	data, oob := make([]byte, 1<<20), make([]byte, 1024)
	n, oobn, _, _, err := conn.ReadMsgUnix(data, oob)
	if err != nil {
		t.Fatal(err)
	}
	data = data[:n]
	if oobn > 0 {
		sealed = true
		messages, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil {
			t.Fatal(err)
		}
		fds, err := unix.ParseUnixRights(&messages[0])
		if err != nil {
			t.Fatal(err)
		}
		file := os.NewFile(uintptr(fds[0]), "message")
		defer file.Close()
		if seals, err := unix.FcntlInt(file.Fd(), unix.F_GET_SEALS, 0); err != nil || seals&unix.F_SEAL_WRITE == 0 {
			t.Errorf("seals %#x, %v", seals, err)
		}
		info, err := file.Stat()
		if err != nil {
			t.Fatal(err)
		}
		data = make([]byte, info.Size())
		if _, err := file.ReadAt(data, 0); err != nil {
			t.Fatal(err)
		}
	}
	fields = map[string][]string{}
	for text := string(data); text != ""; {
		line, rest, _ := strings.Cut(text, "\n")
		name, value, plain := strings.Cut(line, "=")
		if !plain {
			length := binary.LittleEndian.Uint64([]byte(rest[:8]))
			value, rest = rest[8:8+length], rest[8+length+1:]
		}
		fields[name] = append(fields[name], value)
		text = rest
	}
	return fields, sealed
}

func TestWrite(t *testing.T) {
	socket, conn := listen(t)
	j, err := New(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	alert := fileAlert(7, "/etc/shadow")
	alert.Access = policy.Read | policy.Write
	alert.Sequence, alert.Count, alert.Last = 42, 3, alert.Time
	alert.Severity, alert.Tags, alert.Message = policy.SeverityCritical, []string{"a", "b"}, "no"
	// What a process chooses must not become a field.
	alert.Binary, alert.Comm = "/tmp/x\nPRIORITY=7", "c\nEBPFGUARD_VERDICT=allow"
	if err := j.Write(t.Context(), alert); err != nil {
		t.Fatal(err)
	}
	fields, sealed := receive(t, conn)
	if sealed {
		t.Error("a short message comes in a file")
	}
	data, err := alert.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{
		"MESSAGE": {alert.String()}, "PRIORITY": {"2"}, "SYSLOG_IDENTIFIER": {"ebpfguard"}, "EBPFGUARD_ALERT": {string(data)},
		"EBPFGUARD_OPERATION": {"file_open"}, "EBPFGUARD_HOOK": {"file_open"}, "EBPFGUARD_VERDICT": {"deny"}, "EBPFGUARD_UNDECIDED": {"false"},
		"EBPFGUARD_POLICY": {"etc/shadow"}, "EBPFGUARD_RULE": {"0"}, "EBPFGUARD_RULE_MESSAGE": {"no"}, "EBPFGUARD_SEVERITY": {"critical"},
		"EBPFGUARD_TAG": {"a", "b"}, "EBPFGUARD_SEQUENCE": {"42"}, "EBPFGUARD_COUNT": {"3"}, "EBPFGUARD_PID": {"7"}, "EBPFGUARD_UID": {"0"},
		"EBPFGUARD_BINARY": {alert.Binary}, "EBPFGUARD_COMM": {alert.Comm}, "EBPFGUARD_OBJECT_PATH": {"/etc/shadow"},
		"EBPFGUARD_OBJECT_ACCESS": {"read", "write"}, "EBPFGUARD_UNIT": nil, "EBPFGUARD_ID": {"1-2"},
	} {
		if !slices.Equal(fields[name], want) {
			t.Errorf("%s is %q, want %q", name, fields[name], want)
		}
	}
	for name := range fields {
		if strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") != "" {
			t.Errorf("journald would drop the field %q", name)
		}
	}
}

func TestPriority(t *testing.T) {
	for _, c := range []struct {
		verdict  policy.Verdict
		severity policy.Severity
		want     int
	}{
		{policy.Kill, "", 3}, {policy.Deny, "", 4}, {policy.Audit, "", 5}, {policy.Kill, policy.SeverityInfo, 6}, {policy.Audit, policy.SeverityLow, 5},
		{policy.Audit, policy.SeverityMedium, 4}, {policy.Audit, policy.SeverityHigh, 3}, {policy.Audit, policy.SeverityCritical, 2},
	} {
		alert := fileAlert(1, "/x")
		alert.Verdict, alert.Severity = c.verdict, c.severity
		if got := priority(alert.AlertContext); got != c.want {
			t.Errorf("%v %q: priority %d, want %d", c.verdict, c.severity, got, c.want)
		}
	}
}

// TestLarge expects that what is too long for a datagram comes as a file.
func TestLarge(t *testing.T) {
	socket, conn := listen(t)
	j, err := New(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	alert := fileAlert(7, "/"+strings.Repeat("x", 1<<20))
	if err := j.Write(t.Context(), alert); err != nil {
		t.Fatal(err)
	}
	fields, sealed := receive(t, conn)
	if path := fields["EBPFGUARD_OBJECT_PATH"]; !sealed || len(path) != 1 || path[0] != alert.Path {
		t.Errorf("in a file: %v, %d paths", sealed, len(path))
	}
}

// TestBlocked expects that the end of the context ends a write to a
// journald that reads no more, and that one that is gone is an error.
func TestBlocked(t *testing.T) {
	socket, conn := listen(t)
	j, err := New(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	for range 1 << 20 {
		if err = j.Write(ctx, fileAlert(7, "/x")); err != nil {
			break
		}
	}
	if err == nil || ctx.Err() == nil {
		t.Errorf("error %v before the end, %v", err, ctx.Err())
	}
	conn.Close()
	if err := j.Write(t.Context(), fileAlert(7, "/x")); err == nil || !strings.Contains(err.Error(), "is systemd-journald running?") {
		t.Errorf("error %v", err)
	}
}
