//go:build vm

package vm

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/internal/vmtest"
)

// TestSteer steers a daemon by commands: what they say of it, and that it is so. What
// they say of everything else is tested without a daemon.
func TestSteer(t *testing.T) {
	vmtest.Require(t, "socket_bind")
	dir, folder := policies(t)
	write(t, filepath.Join(folder, "a.yaml"), 0o600, port("file", "4001"))
	g, _ := startDaemon(t, dir)
	file := filepath.Join(dir, "applied.yaml")
	write(t, file, 0o600, port("applied", "4003"))
	// say runs a command and compares its exit code and, by a pattern, what it says.
	say := func(code int, pattern string, args ...string) {
		t.Helper()
		var out bytes.Buffer
		cmd := exec.Command(command, args...)
		cmd.Env = append(os.Environ(), "EBPFGUARD_SOCKET="+filepath.Join(dir, "socket"))
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Run(); exitCode(err) != code || !regexp.MustCompile("(?m)"+pattern).Match(out.Bytes()) {
			t.Errorf("%q: exit code %d, want %d and %s:\n%s", args, exitCode(err), code, pattern, out.Bytes())
		}
	}

	say(0, `^\+    deny: \{ports: \[4003\]\}$`, "apply", "-f", file, "--dry-run")
	wantAllowed(t, 4003)
	// A dry run finds what only the tables or this machine tell.
	var many strings.Builder
	for i := range abi.MaxMarks + 1 {
		subject := fmt.Sprintf("{binaries: [/bin/%d], descendants: true}", i)
		many.WriteString(strings.Replace(port(fmt.Sprintf("p%d", i), "4003"), "subject: {}", "subject: "+subject, 1) + "---\n")
	}
	wrong := filepath.Join(dir, "wrong.yaml")
	for text, pattern := range map[string]string{
		many.String(): `^ebpfguard: apply: the policy set is too large: `,
		strings.Replace(port("p", "4003"), "subject: {}", "subject: {users: [nosuchuser]}", 1): `^ebpfguard: apply: .*nosuchuser`,
	} {
		write(t, wrong, 0o600, text)
		say(1, pattern, "apply", "-f", wrong, "--dry-run")
		say(1, pattern, "apply", "-f", wrong)
	}
	wantAllowed(t, 4003)
	say(0, `^revision \d+ is in force: 1 added, 0 changed, 0 removed$`, "apply", "-f", file)
	wantDenied(t, 4001)
	wantDenied(t, 4003)
	say(0, `^nothing changed: revision \d+ is in force$`, "apply", "-f", file)
	say(0, `^applied  enforce  applied      1     1$`, "get")
	say(0, `^applied  enforce .* applied\.yaml:1:1$|^applied .*applied\.yaml:1:1$`, "get", "-o", "wide")
	say(1, `^ebpfguard: delete: policy "file" belongs to a file \(.*a\.yaml:1:1\); remove it there$`, "delete", "file")

	// A process, by its number alone.
	victim, bystander := startListener(t), startListener(t)
	pid := strconv.Itoa(victim.cmd.Process.Pid)
	say(0, `^m: no-network for process `+pid+`, for 10m until `, "mitigate", "--pid", pid, "--profile", "no-network", "--ttl", "10m", "--name", "m")
	if victim.listens() || !bystander.listens() {
		t.Error("the mitigation is not for the process that was named")
	}
	say(0, `^policy "typo": warning: there is no file /usr/bin/crul here; this mitigation matches nothing until that file exists$`,
		"mitigate", "--binary", "/usr/bin/crul", "--profile", "no-network", "--ttl", "10m", "--name", "typo")
	say(0, `^lifted typo$`, "mitigate", "lift", "typo")
	say(0, `^m +no-network +process `+pid+` +enforce +(10m|9m\d+s) +1$`, "mitigate", "list")
	say(0, `^m \(enforce, mitigation, ends in `, "explain", "--pid", pid)
	say(0, `^decided by policy "m" rule 0$`, "explain", "--pid", pid, "--operation", "socket_bind", "--port", "4999")
	say(0, `^m$`, "__complete", "mitigate", "lift", "")

	// A connection that is open already.
	connected, other := connect(t), connect(t)
	client := strconv.Itoa(connected.cmd.Process.Pid)
	say(0, `^n: no-new-connections for process `+client, "mitigate", "--pid", client, "--profile", "no-new-connections", "--ttl", "10m", "--name", "n")
	if got := connected.ping(); got != "pong" {
		t.Errorf("no-new-connections: an open connection: %s", got)
	}
	say(0, `^lifted n$`, "mitigate", "lift", "n")
	say(0, `^n: no-network for process `+client, "mitigate", "--pid", client, "--profile", "no-network", "--ttl", "10m", "--name", "n")
	if got := connected.ping(); got != "refused" {
		t.Errorf("no-network: an open connection: %s", got)
	}
	if got := other.ping(); got != "pong" {
		t.Errorf("the connection of a bystander: %s", got)
	}
	say(0, `^lifted n$`, "mitigate", "lift", "n")
	if got := connected.ping(); got != "pong" {
		t.Errorf("the mitigation is lifted: %s", got)
	}

	// Nobody cuts off himself.
	sshd := filepath.Join(dir, "sshd")
	bash, err := os.ReadFile("/bin/bash")
	if err != nil {
		t.Fatal(err)
	}
	write(t, sshd, 0o700, string(bash))
	for profile, code := range map[string]int{"no-network": 1, "no-new-connections": 0} {
		text := command + " mitigate --everyone --ttl 1s --profile " + profile + "; exit $?"
		cmd := exec.Command(sshd, "-c", text)
		cmd.Env = append(os.Environ(), "EBPFGUARD_SOCKET="+filepath.Join(dir, "socket"))
		out, err := cmd.CombinedOutput()
		if exitCode(err) != code || code == 1 && !regexp.MustCompile(`everyone includes process \d+ \(sshd\), which carries your connection to this machine`).Match(out) {
			t.Errorf("%s for everyone by ssh: %v\n%s", profile, err, out)
		}
	}
	g.await("the end of a mitigation", func() bool {
		out, err := exec.Command(command, "mitigate", "list", "--socket", filepath.Join(dir, "socket")).Output()
		return err == nil && !bytes.Contains(out, []byte("everyone"))
	})

	// What was denied meanwhile, and now.
	ended := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-ended:
				return
			case <-time.After(50 * time.Millisecond):
				_ = listen(4003)
			}
		}
	}()
	say(0, ` deny socket_bind 127\.0\.0\.1:4003/tcp by .*: policy applied rule 0$`, "alerts", "-n", "1", "--policy", "app*")
	say(0, `^socket_bind +[0-9.]+ +[1-9][0-9.]* +0 +\d+ +0 +0$`, "top", "--once")
	close(ended)
	<-stopped
	say(0, `^ENFORCING  3 policies, 4 rules, 1 mitigation$`, "status")
	say(0, `^lifted m$`, "mitigate", "lift", "m")
	if !victim.listens() {
		t.Error("the mitigation is lifted and meets its process still")
	}
	say(1, `^ebpfguard: mitigate lift: there is no mitigation "m"; 'ebpfguard mitigate list' lists them$`, "mitigate", "lift", "m")

	say(0, `^removed   applied$`, "delete", "applied")
	wantAllowed(t, 4003)
	write(t, filepath.Join(folder, "b.yaml"), 0o600, port("broken", "99999"))
	g.await("the problem", func() bool {
		out, err := exec.Command(command, "status", "--socket", filepath.Join(dir, "socket")).Output()
		return exitCode(err) == 1 && bytes.HasPrefix(out, []byte("DEGRADED   1 problem; still enforcing 1 policy, 1 rule, 0 mitigations\n"))
	})
	wantDenied(t, 4001)
	g.killDaemon()
	say(3, `^NOT RUNNING  no daemon answers on `, "status")
}

// pinger is a process with a connection.
type pinger struct {
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Reader
}

// connect starts a process that connects to a server that answers.
func connect(t *testing.T) *pinger {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		for lines := bufio.NewScanner(c); lines.Scan(); {
			if _, err := c.Write([]byte("pong\n")); err != nil {
				return
			}
		}
	}()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	p := &pinger{cmd: exec.Command("bash", "-c", `exec 3<>/dev/tcp/127.0.0.1/`+port+`
		while read -r; do
			if echo ping 2>/dev/null >&3 && read -r answer <&3; then echo "$answer"; else echo refused; fi
		done`)}
	p.in, err = p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill(); _ = p.cmd.Wait() })
	if got := p.ping(); got != "pong" {
		t.Fatalf("nobody answers: %s", got)
	}
	return p
}

// ping sends something over the connection and returns what comes back.
func (p *pinger) ping() string {
	if _, err := io.WriteString(p.in, "\n"); err != nil {
		return err.Error()
	}
	line, err := p.out.ReadString('\n')
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(line)
}
