//go:build vm

package guardtest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Action is what an actor does in one go: make a socket, bind it, listen.
type Action struct {
	Family, Type, Protocol int
	// Address and Port are bound unless NoBind.
	Address netip.Addr
	Port    uint16
	NoBind  bool
	// Listen calls listen(2) after the bind.
	Listen bool
	// V6Only sets IPV6_V6ONLY.
	V6Only bool
	// SockFamily overrides the family in the socket address.
	SockFamily int
	// Bindx binds with sctp_bindx(3) instead; with SamePort all addresses but
	// the first have port 0, which means the first one's.
	Bindx    []netip.Addr
	SamePort bool
	// Uring binds through io_uring.
	Uring bool
	// Times repeats the action; the reply counts the denials.
	Times int
	// Rebinds binds the one socket so many times, and counts the denials.
	Rebinds int
	// Fork does the action in a child process of the actor.
	Fork bool
	// Exec is started by the actor (and acts in its place).
	Exec string
	// Hold keeps the socket; ListenHeld listens on the one that is kept.
	Hold, ListenHeld bool
	// Mount bind-mounts the first path at the second, and does nothing else.
	Mount [2]string
}

// reply tells how an action went: which step failed, and how.
type reply struct {
	Step   string
	Errno  unix.Errno
	Port   uint16
	Denied int
}

// Refused reports whether the action was refused by the guard.
func (r reply) Refused() bool { return r.Errno == unix.EPERM }

func (r reply) String() string {
	if r.Errno == 0 {
		return "done"
	}
	return fmt.Sprintf("%s: %s", r.Step, unix.ErrnoName(r.Errno))
}

// act does the actions that it reads from standard input.
func act() {
	in, out := json.NewDecoder(bufio.NewReader(os.Stdin)), json.NewEncoder(os.Stdout)
	for {
		var a Action
		if err := in.Decode(&a); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			panic(err)
		}
		if err := out.Encode(a.do()); err != nil {
			panic(err)
		}
	}
}

func (a Action) do() reply {
	if a.Mount != [2]string{} {
		if err := unix.Mount(a.Mount[0], a.Mount[1], "", unix.MS_BIND, ""); err != nil {
			return failed("mount", err)
		}
		return reply{}
	}
	if a.ListenHeld {
		defer unix.Close(held)
		if err := unix.Listen(held, 1); err != nil {
			return failed("listen", err)
		}
		return reply{}
	}
	if a.Fork || a.Exec != "" {
		program := a.Exec
		if a.Fork {
			program = "/proc/self/exe"
		}
		a.Fork, a.Exec = false, ""
		child, err := start(program)
		if err != nil {
			return failed("exec", err)
		}
		defer child.Stop()
		return child.Do(a)
	}
	var r reply
	denied := 0
	for range max(1, a.Times) {
		if r = a.once(); r.Refused() {
			denied++
		}
	}
	r.Denied += denied
	return r
}

// held is the socket that an actor keeps.
var held int

func (a Action) once() reply {
	fd, err := unix.Socket(a.Family, a.Type|unix.SOCK_CLOEXEC, a.Protocol)
	if err != nil {
		return failed("socket", err)
	}
	if a.Hold {
		held = fd
	} else {
		defer unix.Close(fd)
	}
	// Addresses need not be configured, ports not be free.
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if a.Family == unix.AF_INET6 {
		unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_FREEBIND, 1)
		only := 0
		if a.V6Only {
			only = 1
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_V6ONLY, only); err != nil && a.Type != unix.SOCK_RAW {
			return failed("IPV6_V6ONLY", err)
		}
	}
	unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_FREEBIND, 1)
	switch {
	case a.NoBind:
	case a.Rebinds > 0:
		var r reply
		address := a.Sockaddr(a.Address)
		for range a.Rebinds {
			if errors.Is(rawBind(fd, address), unix.EPERM) {
				r.Denied++
			}
		}
		return r
	case a.Uring:
		if err := uringBind(fd, a.Sockaddr(a.Address)); err != nil {
			return failed("bind", err)
		}
	case a.Bindx != nil:
		var packed []byte
		for i, address := range a.Bindx {
			next := a
			if i > 0 && a.SamePort {
				next.Port = 0
			}
			packed = append(packed, next.Sockaddr(address)...)
		}
		const sctpSockoptBindxAdd = 100
		if err := unix.SetsockoptString(fd, unix.IPPROTO_SCTP, sctpSockoptBindxAdd, string(packed)); err != nil {
			return failed("bindx", err)
		}
	default:
		if err := rawBind(fd, a.Sockaddr(a.Address)); err != nil {
			return failed("bind", err)
		}
	}
	if a.Listen {
		if err := unix.Listen(fd, 1); err != nil {
			return failed("listen", err)
		}
	}
	var r reply
	if name, err := unix.Getsockname(fd); err == nil {
		switch name := name.(type) {
		case *unix.SockaddrInet4:
			r.Port = uint16(name.Port)
		case *unix.SockaddrInet6:
			r.Port = uint16(name.Port)
		}
	}
	return r
}

func failed(step string, err error) reply {
	var errno unix.Errno
	if !errors.As(err, &errno) {
		errno = unix.EIO
	}
	return reply{Step: step + ": " + err.Error(), Errno: errno}
}

// Actor is a process that does what it is told.
type Actor struct {
	Command *exec.Cmd
	in      io.WriteCloser
	encoder *json.Encoder
	decoder *json.Decoder
}

// Nice gives all threads of the actor a priority, as of nice(1). A test that replaces sets meanwhile does not have to wait
// for its turn beside actors that never pause.
func (a *Actor) Nice(t *testing.T, nice int) {
	t.Helper()
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", a.Command.Process.Pid))
	Check(t, err)
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		Check(t, err)
		Check(t, unix.Setpriority(unix.PRIO_PROCESS, id, nice))
	}
}

func start(program string) (*Actor, error) { return startWith(program, nil) }

func startWith(program string, attributes *syscall.SysProcAttr) (*Actor, error) {
	command := exec.Command(program)
	command.SysProcAttr = attributes
	return StartActorCommand(command)
}

// StartActorCommand starts a command that becomes an actor, or starts one with its own
// standard input and output.
func StartActorCommand(command *exec.Cmd) (*Actor, error) {
	a := &Actor{Command: command}
	a.Command.Env = append(os.Environ(), actorEnv+"=1")
	a.Command.Stderr = os.Stderr
	in, err := a.Command.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := a.Command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	a.in, a.encoder, a.decoder = in, json.NewEncoder(in), json.NewDecoder(out)
	return a, a.Command.Start()
}

func (a *Actor) Do(what Action) reply {
	var r reply
	if err := a.encoder.Encode(what); err != nil {
		return failed("telling the actor", err)
	}
	if err := a.decoder.Decode(&r); err != nil {
		return failed("hearing the actor", err)
	}
	return r
}

func (a *Actor) Stop() {
	a.in.Close()
	a.Command.Wait()
}

// bystanderPort is one that no policy of the tests is about.
const bystanderPort = 9999

// WantRefused wants the actor to be refused a port, and nothing else.
func (a *Actor) WantRefused(t *testing.T, port uint16, when string) {
	t.Helper()
	if r := a.Do(TCP(Lo4, port)); !r.Refused() {
		t.Errorf("%s: binding port %d: %v, want EPERM", when, port, r)
	}
	a.WantBound(t, bystanderPort, when)
}

// WantBound wants the actor to bind a port.
func (a *Actor) WantBound(t *testing.T, port uint16, when string) {
	t.Helper()
	if r := a.Do(TCP(Lo4, port)); r.Errno != 0 {
		t.Errorf("%s: binding port %d: %v, want it done", when, port, r)
	}
}

// StartActor starts an actor and stops it with the test.
func StartActor(t *testing.T, program string) *Actor {
	t.Helper()
	a, err := start(program)
	Check(t, err)
	t.Cleanup(a.Stop)
	return a
}

// StartActorIn starts an actor in new namespaces, as root of its user namespace.
func StartActorIn(t *testing.T, program string, namespaces uintptr) (*Actor, error) {
	t.Helper()
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}}
	a, err := startWith(program, &syscall.SysProcAttr{Cloneflags: namespaces, UidMappings: ids, GidMappings: ids})
	if err == nil {
		t.Cleanup(a.Stop)
	}
	return a, err
}

var (
	Any4    = netip.IPv4Unspecified()
	Any6    = netip.IPv6Unspecified()
	Lo4     = netip.MustParseAddr("127.0.0.1")
	Lo6     = netip.IPv6Loopback()
	Mapped4 = netip.MustParseAddr("::ffff:127.0.0.1")
)

func TCP(address netip.Addr, port uint16) Action {
	return Inet(address, port, unix.SOCK_STREAM, 0)
}

func Inet(address netip.Addr, port uint16, kind, protocol int) Action {
	a := Action{Family: unix.AF_INET, Type: kind, Protocol: protocol, Address: address, Port: port}
	if address.Is6() {
		a.Family = unix.AF_INET6
	}
	return a
}

func (a Action) With(change func(*Action)) Action {
	change(&a)
	return a
}
