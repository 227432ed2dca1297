//go:build vm

package vm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ebpfguard/ebpfguard/internal/vmtest"
)

// site is added to Debian's own nginx.conf.
const site = `
server {
	listen 80 default_server;
	listen [::]:80 default_server;
	listen 443 ssl default_server;
	ssl_certificate /etc/ssl/site.pem;
	ssl_certificate_key /etc/ssl/private/site.key;
	root /var/www/html;
}
`

// exploited makes nginx do what an attacker inside would make it do: its workers
// are root, read files that are not its own and connect to others.
const exploited = `
user root;
worker_processes 1;
pid /var/lib/nginx/nginx.pid;
error_log /var/log/nginx/exploited.log;
events {}
http {
	access_log /var/log/nginx/access.log;
	server {
		listen %d;
		location = /shadow { root /etc; }
		location = /sudoers { root /etc; }
		location = /out { proxy_pass http://127.0.0.1:9000/; }
	}
}
`

// nginx is a running web server.
type nginx struct {
	t    *testing.T
	pid  string // its file
	log  string
	mark int64 // how long the log was when it started
}

const (
	plainPID     = "/run/nginx.pid"
	exploitedPID = "/var/lib/nginx/nginx.pid"
	plainLog     = "/var/log/nginx/error.log"
	exploitedLog = "/var/log/nginx/exploited.log"
)

// startPlain starts nginx as Debian does.
func startPlain(t *testing.T) *nginx {
	t.Helper()
	certificate(t)
	write(t, "/etc/nginx/sites-enabled/default", 0o644, site)
	n := &nginx{t: t, pid: plainPID, log: plainLog}
	if out, err := n.start("/usr/sbin/nginx"); err != nil {
		t.Fatalf("nginx: %v, %s", err, out)
	}
	return n
}

// exploit starts the exploited nginx with another program's name: when it is told
// to upgrade, it starts itself by that name.
func exploit(t *testing.T, name string, port int) (*nginx, error) {
	t.Helper()
	path := fmt.Sprintf("/etc/nginx/exploited-%d.conf", port)
	write(t, path, 0o644, fmt.Sprintf(exploited, port))
	n := &nginx{t: t, pid: exploitedPID, log: exploitedLog}
	_, err := n.start(name, "-c", path)
	return n, err
}

func (n *nginx) start(args ...string) (string, error) {
	if info, err := os.Stat(n.log); err == nil {
		n.mark = info.Size()
	}
	cmd := exec.Command("/usr/sbin/nginx")
	cmd.Args = args
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// logged returns what the server has logged since it was started.
func (n *nginx) logged() string {
	content, err := os.ReadFile(n.log)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		n.t.Fatal(err)
	}
	return string(content[min(n.mark, int64(len(content))):])
}

// signal sends a signal to the process of the pid file, which may have another
// name during an upgrade.
func (n *nginx) signal(s syscall.Signal) {
	n.t.Helper()
	var content []byte
	n.until("a pid file", func() bool {
		var err error
		content, err = os.ReadFile(n.pid)
		return err == nil && len(content) > 0
	})
	pid, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil {
		n.t.Fatal(err)
	}
	if err := syscall.Kill(pid, s); err != nil {
		n.t.Fatal(err)
	}
}

// upgrade has it start its program anew, beside itself, and then ends the former one, as its package's scripts do.
func (n *nginx) upgrade() {
	n.t.Helper()
	former := n.pid + ".oldbin"
	n.signal(syscall.SIGUSR2)
	n.until("another server", func() bool { return exists(n.pid) && exists(former) })
	old := *n
	old.pid = former
	old.signal(syscall.SIGQUIT)
	n.until("the end of the former one", func() bool { return !exists(former) })
}

func (n *nginx) stop() {
	n.t.Helper()
	n.signal(syscall.SIGQUIT)
	n.until("the end", func() bool { return !exists(n.pid) })
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (n *nginx) until(what string, condition func() bool) {
	n.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if condition() {
			return
		}
	}
	n.t.Fatalf("never: %s\n%s", what, n.logged())
}

// get returns the status and the body.
func get(t *testing.T, url string) (string, string) {
	t.Helper()
	out, err := exec.Command("/usr/bin/curl", "-sSk", "--max-time", "20", "-w", "\n%{http_code}", url).CombinedOutput()
	if err != nil {
		t.Errorf("curl %s: %v, %s", url, err, out)
	}
	text := string(out)
	at := strings.LastIndex(text, "\n")
	return text[at+1:], text[:max(at, 0)]
}

// serves gets the site in every way.
func serves(t *testing.T) {
	t.Helper()
	for _, url := range []string{"http://127.0.0.1/", "http://[::1]/", "https://127.0.0.1/"} {
		if status, body := get(t, url); status != "200" || strings.TrimSpace(body) != "hello" {
			t.Errorf("%s: %s, %q", url, status, body)
		}
	}
}

// works starts the web server, uses it and stops it.
func works(t *testing.T) *nginx {
	t.Helper()
	n := startPlain(t)
	serves(t)
	// Its configuration and logs anew, as certbot and logrotate want it.
	if out, err := exec.Command("/usr/sbin/nginx", "-t").CombinedOutput(); err != nil {
		t.Errorf("nginx -t: %v, %s", err, out)
	}
	n.signal(syscall.SIGHUP)
	n.signal(syscall.SIGUSR1)
	serves(t)
	n.upgrade()
	serves(t)
	n.stop()
	return n
}

// webServerControls sees without policies that the exploits work.
func webServerControls(t *testing.T) {
	works(t)
	n, err := exploit(t, "/bin/sh", 8080)
	if err != nil {
		t.Fatal(err, n.logged())
	}
	for path, want := range map[string]string{"shadow": "root:*:", "sudoers": "tester ALL", "out": "upstream"} {
		if status, body := get(t, "http://127.0.0.1:8080/"+path); status != "200" || !strings.Contains(body, want) {
			t.Errorf("/%s: %s, %q", path, status, body)
		}
	}
	n.signal(syscall.SIGUSR2)
	n.until("a shell", func() bool { return strings.Contains(n.logged(), "exploited-8080.conf: Permission denied") })
	n.stop()
}

// webServer sees examples/web-server.yaml let nginx work and refuse everything
// else.
func webServer(t *testing.T, g *guard) {
	n := works(t)
	if alerts := g.read("alerts"); alerts != "" {
		t.Errorf("a web server that works is refused something:\n%s", alerts)
	}
	if log := n.logged(); strings.Contains(log, "not permitted") {
		t.Errorf("nginx: %s", log)
	}

	const by = `"binary":"/usr/sbin/nginx"`
	n, err := exploit(t, "/bin/sh", 8080)
	if err == nil || !strings.Contains(n.logged(), "bind() to 0.0.0.0:8080 failed (1: Operation not permitted)") {
		t.Errorf("port 8080: %v, %s", err, n.logged())
	}
	t.Log(n.logged(), g.awaitAlert(0, `"operation":"socket_bind"`, `"policy":"web-server","rule":0`, by, `"port":8080`))
	n, err = exploit(t, "/bin/sh", 80)
	if err != nil {
		t.Fatal(err, n.logged())
	}
	for path, want := range map[string][]string{
		"shadow":  {`"operation":"file_open"`, `"policy":"protect-passwords"`, `"path":"/etc/shadow","access":["read"]`},
		"sudoers": {`"operation":"file_open"`, `"policy":"web-server","rule":1`, `"path":"/etc/sudoers","access":["read"]`},
		"out":     {`"operation":"socket_connect"`, `"policy":"web-server","rule":3`, `"address":"127.0.0.1","port":9000`},
	} {
		if status, body := get(t, "http://127.0.0.1/"+path); status != "500" && status != "502" {
			t.Errorf("/%s: %s, %q", path, status, body)
		}
		t.Log(g.awaitAlert(0, append(want, by)...))
	}
	n.signal(syscall.SIGUSR2)
	t.Log(g.awaitAlert(0, `"operation":"file_open"`, `"policy":"web-server","rule":1`, by, `"path":"/usr/bin/dash","access":["exec"]`))
	n.until("the refusal", func() bool {
		return strings.Contains(n.logged(), `execve() failed while executing new binary process "/bin/sh" (1: Operation not permitted)`)
	})
	t.Log(n.logged())
	n.stop()
	// A file that it may open to execute, but not start.
	n, err = exploit(t, vmtest.Loader, 80)
	if err != nil {
		t.Fatal(err, n.logged())
	}
	loader, err := filepath.EvalSymlinks(vmtest.Loader)
	if err != nil {
		t.Fatal(err)
	}
	n.signal(syscall.SIGUSR2)
	t.Log(g.awaitAlert(0, `"operation":"bprm_check_security","hook":"bprm_check_security","verdict":"deny","policy":"web-server","rule":2`, by, `"object":{"path":"`+loader+`"}`))
	n.until("the refusal", func() bool {
		return strings.Contains(n.logged(), fmt.Sprintf("%q (1: Operation not permitted)", vmtest.Loader))
	})
	n.stop()
}
