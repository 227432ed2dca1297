package lockout

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/ebpfguard/ebpfguard/internal/procfs"
	"github.com/ebpfguard/ebpfguard/policy"
)

// connections adds the TCP sockets that a process has open, which rules with revoke may cut: those it
// accepts from, and those that are connected.
func (l *look) connections(a actor, pid uint32) {
	open := socketsOf(pid)
	if len(open) == 0 {
		return
	}
	for _, table := range []string{"net/tcp", "net/tcp6"} {
		file, err := os.Open(procfs.Path(pid, table))
		if err != nil {
			continue
		}
		lines := bufio.NewScanner(file)
		lines.Scan() // the heading
		for lines.Scan() {
			l.connection(a, strings.Fields(lines.Text()), open)
		}
		_ = file.Close()
	}
}

// The fields of a line of /proc/net/tcp, and the states that matter (proc_net_tcp.rst).
const (
	fieldLocal, fieldRemote, fieldState, fieldInode = 1, 2, 3, 9
	stateEstablished, stateListening                = "01", "0A"
)

func (l *look) connection(a actor, fields []string, open map[string]bool) {
	if len(fields) <= fieldInode || !open[fields[fieldInode]] {
		return
	}
	operation, what, field := policy.SocketConnect, "its connection to %v", fieldRemote
	switch fields[fieldState] {
	case stateEstablished:
	case stateListening:
		operation, what, field = policy.SocketBind, "accepting logins on %v", fieldLocal
	default:
		return
	}
	at, err := parseEndpoint(fields[field])
	if err != nil {
		return
	}
	l.needs = append(l.needs, need{
		actor: a, what: fmt.Sprintf(what, at), operation: operation, revokeOnly: true,
		object: policy.Socket{Address: at.Addr(), Port: at.Port(), Protocol: policy.TCP},
	})
}

// socketsOf returns the inode numbers of a process's sockets.
func socketsOf(pid uint32) map[string]bool {
	folder := procfs.Path(pid, "fd")
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil
	}
	open := map[string]bool{}
	for _, e := range entries {
		if link, err := os.Readlink(folder + "/" + e.Name()); err == nil && strings.HasPrefix(link, "socket:[") {
			open[strings.TrimSuffix(strings.TrimPrefix(link, "socket:["), "]")] = true
		}
	}
	return open
}

// parseEndpoint reads an address and port as /proc/net/tcp has them: words in the order of bytes of
// this machine.
func parseEndpoint(text string) (netip.AddrPort, error) {
	address, port, ok := strings.Cut(text, ":")
	raw, err := hex.DecodeString(address)
	if !ok || err != nil || len(raw) != 4 && len(raw) != 16 {
		return netip.AddrPort{}, fmt.Errorf("%q is no address and port", text)
	}
	number, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q is no address and port: %w", text, err)
	}
	for i := 0; i < len(raw); i += 4 {
		binary.NativeEndian.PutUint32(raw[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	addr, _ := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(addr.Unmap(), uint16(number)), nil
}
