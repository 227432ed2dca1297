//go:build vm_deb

package vm

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const newcomer = "newcomer"

// onHost are commands of the tour that are run by `make test-deb` before the machine boots.
var onHost = []string{"make dist"}

// TestTour follows docs/tour.md on a machine that has never seen ebpfguard, as a user with sudo.
func TestTour(t *testing.T) {
	before := tree(t)
	home := settle(t)
	steps := tour(t)
	if len(steps) < 10 {
		t.Fatalf("the tour has only %d commands", len(steps))
	}
	part(t, "tour", func(t *testing.T) { follow(t, home, steps) })
	part(t, "journal", journal)
	part(t, "purged", func(t *testing.T) {
		noneLeft(t, before, home, "/etc/ssl", "/etc/hosts", "/etc/passwd-", "/etc/shadow-", "/etc/group-", "/etc/gshadow-", "/etc/subuid", "/etc/subgid", "/etc/sudoers.d/", "/var/lib/sudo", "/var/log/journal", "/var/log/lastlog", "/var/log/wtmp", "/var/log/btmp", "/var/log/dpkg.log", "/var/log/alternatives.log", "/var/mail")
	})
}

// settle makes the user and what the tour needs: the package, as `make dist` leaves it, and its policies.
func settle(t *testing.T) string {
	t.Helper()
	home := "/home/" + newcomer
	// Debian's installer writes it, and sudo complains without.
	if err := os.WriteFile("/etc/hosts", []byte("127.0.0.1 localhost\n127.0.1.1 "+hostname(t)+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, "useradd", "--create-home", "--shell", "/bin/bash", newcomer)
	if err := os.WriteFile("/etc/sudoers.d/"+newcomer, []byte(newcomer+" ALL=(ALL) NOPASSWD: ALL\n"), 0o440); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(deb(t, "0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(home+"/dist", 0o755); err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string][]byte{
		"dist/" + filepath.Base(deb(t, "0.0.1")): data,
		"secrets.yaml":                           []byte(secrets(t)),
	} {
		if err := os.WriteFile(filepath.Join(home, path), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return home
}

func hostname(t *testing.T) string {
	t.Helper()
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// login prepares a command of the user.
func login(t *testing.T, home string, args ...string) *exec.Cmd {
	t.Helper()
	who, err := user.Lookup(newcomer)
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.ParseUint(who.Uid, 10, 32)
	gid, _ := strconv.ParseUint(who.Gid, 10, 32)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = home
	cmd.Env = []string{"HOME=" + home, "USER=" + newcomer, "LOGNAME=" + newcomer, "SHELL=/bin/bash", "LANG=C.UTF-8", "TERM=dumb",
		"PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, Setsid: true}
	return cmd
}

// follow gives the steps to one shell, one after another.
func follow(t *testing.T, home string, steps []step) {
	t.Helper()
	first := newShell(t, home)
	defer first.end()
	var ends []func()
	for _, s := range steps {
		start := time.Now()
		switch {
		case slices.Contains(onHost, s.command):
			t.Logf("$ %s    # on the host", s.command)
		case s.terminal == 2:
			ends = append(ends, beside(t, home, s))
		default:
			output, status := first.run(t, s.command)
			t.Logf("$ %s    # %d, %.1f s\n%s", s.command, status, time.Since(start).Seconds(), strings.Join(output, "\n"))
			judge(t, s, output)
			if s.fails() != (status != 0) {
				t.Errorf("%s:%d: %s: exit status %d", page, s.line, s.command, status)
			}
		}
	}
	for _, end := range ends {
		end()
	}
}

// fails says whether the command fails, as the output that is shown tells.
func (s step) fails() bool {
	return slices.ContainsFunc(s.output, func(line string) bool {
		return regexp.MustCompile(`: (Operation not permitted|Connection refused)$|^ebpfguard: `).MatchString(line)
	})
}

func judge(t *testing.T, s step, output []string) {
	t.Helper()
	if wrong := differs(output, s.output); wrong != "" {
		t.Errorf("%s:%d: %s: %s", page, s.line, s.command, wrong)
	}
}

// shell is a bash that gets a command when the one before has ended.
type shell struct {
	stdin io.WriteCloser
	lines chan string
	end   func()
}

func newShell(t *testing.T, home string) *shell {
	t.Helper()
	cmd := login(t, home, "/bin/bash", "--login", "-s")
	cmd.Args[0] = "bash" // what it calls itself in its errors
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	sh := &shell{stdin: stdin, lines: make(chan string, 10000)}
	go func() {
		defer close(sh.lines)
		for in := bufio.NewScanner(stdout); in.Scan(); {
			sh.lines <- in.Text()
		}
	}()
	sh.end = sync.OnceFunc(func() {
		stdin.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return sh
}

// run returns what the command printed, and its exit status.
func (sh *shell) run(t *testing.T, command string) (output []string, status int) {
	t.Helper()
	const mark = "=== exit status "
	// The commands' own input is not the script.
	if _, err := fmt.Fprintf(sh.stdin, "{ %s\n} </dev/null; echo '%s'$?\n", command, mark); err != nil {
		t.Fatalf("%s: the shell has ended: %v", command, err)
	}
	limit := time.After(patience)
	for {
		select {
		case line, ok := <-sh.lines:
			if !ok {
				t.Fatalf("%s: the shell ended after\n%s", command, strings.Join(output, "\n"))
			}
			text, end, found := strings.Cut(line, mark)
			if !found {
				output = append(output, line)
				continue
			}
			if text != "" { // the output's last line has no end
				output = append(output, text)
			}
			status, err := strconv.Atoi(end)
			if err != nil {
				t.Fatal(err)
			}
			return output, status
		case <-limit:
			t.Fatalf("%s: has not ended within %v, and printed\n%s", command, patience, strings.Join(output, "\n"))
		}
	}
}

// beside starts what the page has in the second terminal. What it returns ends it, as ^C does, and judges it.
func beside(t *testing.T, home string, s step) func() {
	t.Helper()
	before := watchers(t)
	cmd := login(t, home, "/bin/bash", "--login", "-c", "exec "+s.command)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, s.command+" is connected", func() bool { return watchers(t) > before })
	time.Sleep(2 * time.Second) // from the connection to the answer
	return func() {
		// Like the terminal, which tells all that run in it. It may have ended by itself.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
		err := cmd.Wait()
		lines := strings.Split(strings.TrimSuffix(output.String(), "\n"), "\n")
		t.Logf("$ %s    # second terminal, %v\n%s", s.command, err, output.String())
		if s.fails() != (err != nil) {
			t.Errorf("%s:%d: %s: %v", page, s.line, s.command, err)
		}
		judge(t, s, lines)
	}
}

// watchers counts the connections to the daemon.
func watchers(t *testing.T) int {
	t.Helper()
	data, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(data)) {
		// Num RefCount Protocol Flags Type St Inode Path; 03 is connected.
		if f := strings.Fields(line); len(f) == 8 && f[5] == "03" && f[7] == "/run/ebpfguard/ebpfguard.sock" {
			n++
		}
	}
	return n
}
