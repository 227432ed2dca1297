//go:build vm

package ebpfguard_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// action is what an actor does in one go: make a socket, bind it, listen.
type action struct {
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

// denied reports whether the action was refused by the guard.
func (r reply) denied() bool { return r.Errno == unix.EPERM }

func (r reply) String() string {
	if r.Errno == 0 {
		return "done"
	}
	return fmt.Sprintf("%s: %s", r.Step, unix.ErrnoName(r.Errno))
}

const actorEnv = "EBPFGUARD_TEST_ACTOR"

func TestMain(m *testing.M) {
	runTests(m, map[string]func(){"manager": manage, "pinned": managePinned})
}

// asSelf is the command of this program in another role.
func asSelf(role string) *exec.Cmd {
	command := exec.Command("/proc/self/exe")
	command.Env = append(os.Environ(), actorEnv+"="+role)
	command.Stderr = os.Stderr
	return command
}

// runTests runs the tests, or plays the role that this process was started for.
func runTests(m *testing.M, roles map[string]func()) {
	if role := os.Getenv(actorEnv); role != "" {
		play, ok := roles[role]
		if !ok {
			play = act
		}
		play()
		return
	}
	fds, goroutines := openFiles(), runtime.NumGoroutine()
	code := m.Run()
	if err := closeShared(); err != nil {
		fmt.Println("FAIL: closing the shared guards:", err)
		code = 1
	}
	// What tests leave behind is a leak of the library.
	deadline := time.Now().Add(patience)
	for (openFiles() > fds || runtime.NumGoroutine() > goroutines) && time.Now().Before(deadline) {
		runtime.GC()
		time.Sleep(50 * time.Millisecond)
	}
	if code == 0 && (openFiles() > fds || runtime.NumGoroutine() > goroutines) {
		fmt.Printf("FAIL: leaked: %d files open, %d before; %d goroutines, %d before\n", openFiles(), fds, runtime.NumGoroutine(), goroutines)
		links, _ := filepath.Glob("/proc/self/fd/*")
		for _, l := range links {
			target, _ := os.Readlink(l)
			fmt.Println(l, target)
		}
		stack := make([]byte, 1<<16)
		fmt.Printf("%s\n", stack[:runtime.Stack(stack, true)])
		code = 1
	}
	os.Exit(code)
}

func openFiles() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err)
	}
	return len(entries)
}

// act does the actions that it reads from standard input.
func act() {
	in, out := json.NewDecoder(bufio.NewReader(os.Stdin)), json.NewEncoder(os.Stdout)
	for {
		var a action
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

func (a action) do() reply {
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
		defer child.stop()
		return child.do(a)
	}
	var r reply
	denied := 0
	for range max(1, a.Times) {
		if r = a.once(); r.denied() {
			denied++
		}
	}
	r.Denied += denied
	return r
}

// held is the socket that an actor keeps.
var held int

func (a action) once() reply {
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
		address := a.sockaddr(a.Address)
		for range a.Rebinds {
			if errors.Is(rawBind(fd, address), unix.EPERM) {
				r.Denied++
			}
		}
		return r
	case a.Uring:
		if err := uringBind(fd, a.sockaddr(a.Address)); err != nil {
			return failed("bind", err)
		}
	case a.Bindx != nil:
		var packed []byte
		for i, address := range a.Bindx {
			next := a
			if i > 0 && a.SamePort {
				next.Port = 0
			}
			packed = append(packed, next.sockaddr(address)...)
		}
		const sctpSockoptBindxAdd = 100
		if err := unix.SetsockoptString(fd, unix.IPPROTO_SCTP, sctpSockoptBindxAdd, string(packed)); err != nil {
			return failed("bindx", err)
		}
	default:
		if err := rawBind(fd, a.sockaddr(a.Address)); err != nil {
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

// actor is a process that does what it is told.
type actor struct {
	command *exec.Cmd
	in      io.WriteCloser
	encoder *json.Encoder
	decoder *json.Decoder
}

func start(program string) (*actor, error) { return startWith(program, nil) }

func startWith(program string, attributes *syscall.SysProcAttr) (*actor, error) {
	command := exec.Command(program)
	command.SysProcAttr = attributes
	return startCommand(command)
}

// startCommand starts a command that becomes an actor, or starts one with its own
// standard input and output.
func startCommand(command *exec.Cmd) (*actor, error) {
	a := &actor{command: command}
	a.command.Env = append(os.Environ(), actorEnv+"=1")
	a.command.Stderr = os.Stderr
	in, err := a.command.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := a.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	a.in, a.encoder, a.decoder = in, json.NewEncoder(in), json.NewDecoder(out)
	return a, a.command.Start()
}

func (a *actor) do(what action) reply {
	var r reply
	if err := a.encoder.Encode(what); err != nil {
		return failed("telling the actor", err)
	}
	if err := a.decoder.Decode(&r); err != nil {
		return failed("hearing the actor", err)
	}
	return r
}

func (a *actor) stop() {
	a.in.Close()
	a.command.Wait()
}

// startActor starts an actor and stops it with the test.
func startActor(t *testing.T, program string) *actor {
	t.Helper()
	a, err := start(program)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.stop)
	return a
}

// startIn starts an actor in new namespaces, as root of its user namespace.
func startIn(t *testing.T, program string, namespaces uintptr) (*actor, error) {
	t.Helper()
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}}
	a, err := startWith(program, &syscall.SysProcAttr{Cloneflags: namespaces, UidMappings: ids, GidMappings: ids})
	if err == nil {
		t.Cleanup(a.stop)
	}
	return a, err
}

// copyProgram makes a program of its own at a path: a copy of this test.
func copyProgram(t *testing.T, path string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(path) })
	return path
}
