package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestTerminal runs commands on a terminal of 80x24.
func TestTerminal(t *testing.T) {
	guard, socket, stop, err := serveGuard(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if err := guard.fill(); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, env string
		args      []string
		keys      string // typed when the output has the word
		word      string
		want      []string
		never     string
	}{
		{name: "colour", args: []string{"alerts", "-n", "1"}, want: []string{"waiting for alerts; press Ctrl-C to stop", "\x1b[31mdeny\x1b[0m socket_bind"}},
		{name: "no colour wanted", env: "NO_COLOR=1", args: []string{"alerts", "-n", "1"}, want: []string{" deny socket_bind"}, never: "\x1b"},
		{name: "a terminal without colours", env: "TERM=dumb", args: []string{"alerts", "-n", "1"}, want: []string{" deny socket_bind"}, never: "\x1b"},
		{name: "JSON has none", args: []string{"alerts", "-n", "1", "-o", "json"}, want: []string{`"verdict":"deny"`}, never: "\x1b"},
		{name: "top", args: []string{"top", "--interval", "100ms"}, keys: "q", word: "no-rogue-sshd", want: []string{"\x1b[?1049h", "ENFORCING", "no-rogue-sshd", "\x1b[?1049l"}},
		{name: "top once", args: []string{"top", "--once", "--interval", "100ms"}, want: []string{"ENFORCING", "no-rogue-sshd"}, never: "\x1b"},
	} {
		t.Run(test.name, func(t *testing.T) {
			env := []string{socketVariable + "=" + socket, "TERM=xterm-256color", "PATH=" + os.Getenv("PATH")}
			if test.env != "" {
				env = append(env, test.env)
			}
			got := onTerminal(t, env, test.args, test.word, test.keys)
			for _, want := range test.want {
				if !strings.Contains(got, want) {
					t.Errorf("the output lacks %q: %q", want, got)
				}
			}
			if test.never != "" && strings.Contains(got, test.never) {
				t.Errorf("the output has %q: %q", test.never, got)
			}
		})
	}
}

// onTerminal runs the command on a pseudo terminal and returns what it wrote.
// When the output has the word the keys are typed. It must succeed.
func onTerminal(t *testing.T, env, args []string, word, keys string) string {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80})
	}
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := &exec.Cmd{Path: self, Args: append([]string{"ebpfguard"}, args...), Env: env, Stdin: slave, Stdout: slave, Stderr: slave,
		SysProcAttr: &syscall.SysProcAttr{Setsid: true, Setctty: true}}
	err = cmd.Start()
	slave.Close()
	if err != nil {
		t.Fatal(err)
	}
	hung := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer hung.Stop()
	var out bytes.Buffer
	for buffer := make([]byte, 4096); ; {
		n, err := master.Read(buffer)
		out.Write(buffer[:n])
		if err != nil {
			break // EIO: the command has ended
		}
		if word != "" && strings.Contains(out.String(), word) {
			word = ""
			if _, err := master.WriteString(keys); err != nil {
				t.Error(err)
			}
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %q", err, out.String())
	}
	return out.String()
}
