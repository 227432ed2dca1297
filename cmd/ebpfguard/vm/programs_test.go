//go:build vm

package vm

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/policy"
)

// examples is where the guest has the examples.
const examples = "/src/examples"

// used are the examples in force while the programs run. What they lack for a
// story is in stories.
var used = []string{"web-server.yaml", "protect-passwords.yaml", "removable-media.yaml", "keep-read-only.yaml", "keep-logs.yaml", "self-protection.yaml"}

const stories = `
apiVersion: ebpfguard.io/v1alpha1
kind: Policy
metadata: {name: never-root}
spec:
  subject: {users: [tester]}
  rules:
  - operation: task_fix_setuid
    deny: {to: {uids: [root]}}
---
apiVersion: ebpfguard.io/v1alpha1
kind: Policy
metadata: {name: no-ramfs}
spec:
  subject: {}
  rules:
  - operation: sb_mount
    deny:
    - {targets: [/srv/], types: [ramfs]}
    - {types: [fuse], flags: [suid]}
---
apiVersion: ebpfguard.io/v1alpha1
kind: Policy
metadata: {name: listed-addresses}
spec:
  subject: {}
  rules:
  - operation: socket_connect
    deny: {addresses_from: [addresses.txt]}
---
apiVersion: ebpfguard.io/v1alpha1
kind: Policy
metadata: {name: no-bash}
spec:
  subject: {}
  rules:
  - operation: bprm_check_security
    deny: {paths: [/usr/bin/bash, /opt/forbidden]}
`

// attempt is what a program does, before the policies are there and then under
// them.
type attempt struct {
	name string
	// user runs the command; root if zero.
	user uint32
	// command is for /bin/sh; shows is what it prints when it succeeds.
	command, shows string
	// do is done instead of a command, by the test itself.
	do func() error
	// refusal is what it prints when it is refused, and alert what a line of the
	// alerts holds then. Without them it succeeds under the policies as well;
	// audited says that it does and that there is an alert all the same.
	refusal string
	alert   []string
	audited bool
	// undo takes back what the attempt changed where it succeeded.
	undo string
	// unless is the operation's hook without which the attempt succeeds.
	unless string
}

var attempts = []attempt{
	// Becoming root.
	{name: "su", user: 1000, command: `su -c 'id -u' root`, shows: "0", refusal: "su: Operation not permitted",
		alert: []string{`"operation":"task_fix_setuid","hook":"bprm_creds_from_file","verdict":"deny","policy":"never-root"`, `"uid":1000`, `"from_uid":1000`, `"to":0,"method":"setuid_exec"`}},
	{name: "sudo", user: 1000, command: "sudo -n id -u", shows: "0", refusal: "sudo: Operation not permitted",
		alert: []string{`"policy":"never-root"`, `"method":"setuid_exec"`}},
	{name: "passwd", user: 1000, command: "passwd -S", shows: "tester L", refusal: "passwd: Operation not permitted",
		alert: []string{`"policy":"never-root"`, `"method":"setuid_exec"`}},
	{name: "unshare", user: 1000, command: "unshare --map-root-user id -u", shows: "0", refusal: "unshare failed: Operation not permitted",
		alert: []string{`"hook":"userns_create"`, `"policy":"never-root"`, `"binary":"/usr/bin/unshare"`, `"method":"user_namespace"`}, unless: "userns_create"},
	{name: "root becomes another", command: `su -c 'id -u' tester`, shows: "1000"},
	{name: "another user's sudo", user: 33, command: "sudo -n id -u", shows: "0"},

	// Reading the password hashes.
	{name: "cat shadow", command: "cat /etc/shadow", shows: "root:*:", refusal: "/etc/shadow: Operation not permitted",
		alert: []string{`"operation":"file_open","hook":"file_open","verdict":"deny","policy":"protect-passwords"`, `"severity":"high"`, `"binary":"/usr/bin/cat"`, `"object":{"path":"/etc/shadow","access":["read"]}`}},
	{name: "link to shadow", command: "ln /etc/shadow /etc/linked", refusal: "Operation not permitted", undo: "rm /etc/linked",
		alert: []string{`"hook":"path_link"`, `"policy":"protect-passwords"`, `"binary":"/usr/bin/ln"`}},
	{name: "passwd as root", command: "passwd -S tester", shows: "tester L"},
	{name: "users as packages make them", shows: "Adding user day to group nights",
		command: "useradd -r -s /usr/sbin/nologin day && usermod -c 'a day' day && chage -M 90 day && groupadd nights && gpasswd -a day nights && groupdel nights && userdel day"},
	{name: "cat passwd", command: "cat /etc/passwd", shows: "root:x:0"},

	{name: "ftrace", command: "echo 1 >/proc/sys/kernel/ftrace_enabled", refusal: "Operation not permitted",
		alert: []string{`"operation":"file_open"`, `"policy":"self-protection"`, `"binary":"/usr/bin/dash"`, `"path":"/proc/sys/kernel/ftrace_enabled","access":["write"]`}},
	{name: "ftrace in another proc", command: "mount -t proc proc /srv/one; echo 1 >/srv/one/sys/kernel/ftrace_enabled; status=$?; umount /srv/one; exit $status", refusal: "Operation not permitted",
		alert: []string{`"policy":"self-protection"`, `"path":"/srv/one/sys/kernel/ftrace_enabled"`}},
	{name: "cat ftrace", command: "cat /proc/sys/kernel/ftrace_enabled", shows: "1"},

	// Mounting.
	{name: "mount with suid", command: "mount -t tmpfs none /media/stick", refusal: "permission denied", undo: "umount /media/stick",
		alert: []string{`"operation":"sb_mount","hook":"sb_mount","verdict":"deny","policy":"removable-media"`, `"binary":"/usr/bin/mount"`,
			`"object":{"source":"none","target":"/media/stick","type":"tmpfs","flags":["new","rw","suid","dev","exec"]}`}},
	{name: "mount without suid", command: "mount -t tmpfs -o nosuid,nodev none /media/stick", undo: "umount /media/stick"},
	{name: "mount of a subtype without suid", do: mountFuse, undo: "umount /media/stick"},
	{name: "mount of a type", command: "mount -t ramfs none /srv/one", refusal: "permission denied", undo: "umount /srv/one",
		alert: []string{`"operation":"sb_mount"`, `"policy":"no-ramfs"`, `"target":"/srv/one","type":"ramfs"`}},
	{name: "mount of another type", command: "mount -t tmpfs none /srv/one", undo: "umount /srv/one"},
	{name: "mount elsewhere", command: "mount -t ramfs none /var/tmp", undo: "umount /var/tmp"},
	{name: "bind mount", command: "mount --bind /srv /mnt", refusal: "permission denied", undo: "umount /mnt",
		alert: []string{`"policy":"removable-media"`, `"object":{"source":"/srv","target":"/mnt","flags":["bind"]}`}},
	{name: "remount", command: "mount -o remount,rw /boot", refusal: "permission denied", undo: "mount -o remount,ro /boot",
		alert: []string{`"operation":"sb_remount","hook":"sb_mount","verdict":"deny","policy":"keep-read-only"`, `"target":"/boot","type":"tmpfs","flags":["rw"`}},
	{name: "remount by the new calls", do: remountWritable, refusal: "operation not permitted", undo: "mount -o remount,ro /boot",
		alert: []string{`"operation":"sb_remount","hook":"sb_remount","verdict":"deny","policy":"keep-read-only"`, `"target":"/boot","type":"tmpfs","flags":["ro","rw"`}},
	{name: "remount by the new calls after mount(2) failed", do: func() error {
		runtime.LockOSThread() // of which the guard remembers what it allowed
		defer runtime.UnlockOSThread()
		if err := unix.Mount("", "/boot", "", unix.MS_REMOUNT|unix.MS_RDONLY, "nonsense"); err == nil {
			return errors.New("tmpfs has an option nonsense")
		}
		return remountWritable()
	}, refusal: "operation not permitted", undo: "mount -o remount,ro /boot",
		alert: []string{`"operation":"sb_remount","hook":"sb_remount","verdict":"deny","policy":"keep-read-only"`}},
	{name: "remount read-only", command: "mount -o remount,ro /boot"},
	{name: "umount", command: "umount /var/log/audit", refusal: "must be superuser to unmount", undo: "mount -t tmpfs none /var/log/audit",
		alert: []string{`"operation":"sb_umount","hook":"sb_umount","verdict":"deny","policy":"keep-logs"`, `"binary":"/usr/bin/umount"`, `"target":"/var/log/audit"`}},
	{name: "lazy umount", command: "mount -t tmpfs none /srv/two && umount -l /srv/two",
		alert: []string{`"operation":"sb_umount"`, `"verdict":"audit","policy":"keep-logs"`, `"target":"/srv/two"`, `"detach"`}, audited: true},

	// Connecting.
	{name: "curl to a listed address", command: "curl -sS http://127.0.0.66:9000/", shows: "upstream", refusal: "curl: (7)",
		alert: []string{`"operation":"socket_connect","hook":"socket_connect","verdict":"deny","policy":"listed-addresses"`, `"binary":"/usr/bin/curl"`, `"object":{"address":"127.0.0.66","port":9000,"protocol":"tcp"}`}},
	{name: "curl to a listed network", command: "curl -sS http://127.0.1.99:9000/", shows: "upstream", refusal: "curl: (7)",
		alert: []string{`"policy":"listed-addresses"`, `"address":"127.0.1.99"`}},
	{name: "curl to another address", command: "curl -sS http://127.0.0.67:9000/", shows: "upstream"},

	// Scripts and interpreters.
	{name: "a forbidden script", command: "/opt/forbidden", shows: "ran", refusal: "/opt/forbidden: Operation not permitted",
		alert: []string{`"operation":"bprm_check_security","hook":"bprm_check_security","verdict":"deny","policy":"no-bash"`, `"binary":"/usr/bin/dash"`, `"object":{"path":"/opt/forbidden"}`}},
	{name: "its second name", command: "/opt/linked", shows: "ran", refusal: "/opt/linked: Operation not permitted",
		alert: []string{`"policy":"no-bash"`, `"object":{"path":"/opt/linked"}`}},
	{name: "a script of a forbidden interpreter", command: "/opt/by-bash", shows: "ran", refusal: "/opt/by-bash: Operation not permitted",
		alert: []string{`"policy":"no-bash"`, `"object":{"path":"/usr/bin/bash"}`}},
	{name: "a script", command: "/opt/by-sh", shows: "ran"},
	{name: "a forbidden program by ld.so", command: vmtest.Loader + " /usr/bin/bash -c 'echo ran'", shows: "ran", refusal: "failed to map",
		alert: []string{`"operation":"bprm_check_security"`, `"hook":"mmap_file"`, `"policy":"no-bash"`, `"object":{"path":"/usr/bin/bash"}`}},
	{name: "another program by ld.so", command: vmtest.Loader + " /usr/bin/dash -c 'echo ran'", shows: "ran"},
}

// remountWritable does what later versions of mount(8) do for remount,rw.
func remountWritable() error {
	fd, err := unix.Fspick(unix.AT_FDCWD, "/boot", unix.FSPICK_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.FsconfigSetFlag(fd, "rw"); err != nil {
		return err
	}
	return unix.FsconfigReconfigure(fd)
}

// mountFuse mounts a filesystem of a subtype, whose daemon never answers.
func mountFuse() error {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Mount("test", "/media/stick", "fuse.test", unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd))
}

// run does the attempt and returns what was printed.
func (a attempt) run() (string, error) {
	if a.do != nil {
		err := a.do()
		return fmt.Sprint(err), err
	}
	cmd := exec.Command("/bin/sh", "-c", a.command)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	if a.user != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: a.user, Gid: a.user}}
	}
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// succeeds runs the attempt, which must go well.
func (a attempt) succeeds(t *testing.T) {
	t.Helper()
	out, err := a.run()
	if err != nil || !strings.Contains(out, a.shows) {
		t.Errorf("%s: %v, %q", a.command, err, out)
	} else if a.undo != "" {
		undo(t, a.undo)
	}
}

func undo(t *testing.T, command string) {
	t.Helper()
	if out, err := (attempt{command: command}).run(); err != nil {
		t.Errorf("%s: %v, %q", command, err, out)
	}
}

// isRefused runs the attempt under the policies, which refuse it.
func (a attempt) isRefused(t *testing.T, g *guard) {
	t.Helper()
	from := len(g.read("alerts"))
	out, err := a.run()
	if err == nil || !strings.Contains(out, a.refusal) {
		t.Errorf("%s: %v, %q, want %q", a.command, err, out, a.refusal)
	}
	if err == nil && a.undo != "" {
		undo(t, a.undo)
	}
	t.Logf("# %s\n%s\n%s", a.command, out, g.awaitAlert(from, a.alert...))
}

// awaitAlert waits for an alert that is not before the offset and holds the
// parts, and returns its line.
func (g *guard) awaitAlert(from int, parts ...string) string {
	g.t.Helper()
	found := ""
	holds := func(line string) bool {
		return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) })
	}
	g.await("an alert with "+strings.Join(parts, ", "), func() bool {
		for line := range strings.Lines(g.read("alerts")[from:]) {
			if strings.HasSuffix(line, "\n") && holds(line) {
				found = line
			}
		}
		return found != ""
	})
	return found
}

// TestPrograms holds real programs against real policies.
func TestPrograms(t *testing.T) {
	for _, o := range policy.Operations() {
		vmtest.Require(t, string(o))
	}
	k, _ := vmtest.Guest()
	lacking := missingHooks(t)
	if k, _ := vmtest.Guest(); lacking["userns_create"] != (k.Name == "5.10") {
		t.Errorf("on kernel %s, hooks missing: %v", k.Name, lacking)
	}
	prepareSystem(t)
	dir, folder := policies(t)
	preparePolicies(t, folder)
	for _, a := range attempts {
		a.succeeds(t)
	}
	webServerControls(t)
	if t.Failed() {
		t.Fatal("not as it should be without policies")
	}
	// What the kernel cannot enforce fully is refused unless it is wanted so.
	flags := []string{"--alerts", filepath.Join(dir, "alerts")}
	if lacking["userns_create"] {
		out, err := exec.Command(command, "run", "-p", folder).CombinedOutput()
		t.Logf("%s", out)
		if exitCode(err) != 1 || !strings.Contains(string(out), "userns_create") || !strings.Contains(string(out), "--allow-gaps") {
			t.Errorf("%v: %s", err, out)
		}
		flags = append(flags, "--allow-gaps")
	}
	begun := time.Now()
	g := startGuard(t, dir, flags...)
	t.Logf("in force on %s after %v", k.Name, time.Since(begun).Round(time.Second))
	if gaps := strings.Contains(g.read("stderr"), "not covered"); gaps != lacking["userns_create"] {
		t.Errorf("gaps: %s", g.read("stderr"))
	}
	webServer(t, g)
	for _, a := range attempts {
		t.Run(a.name, func(t *testing.T) {
			switch {
			case a.unless != "" && lacking[a.unless]:
				a.succeeds(t)
			case a.audited:
				from := len(g.read("alerts"))
				a.succeeds(t)
				t.Log(g.awaitAlert(from, a.alert...))
			case a.alert != nil:
				a.isRefused(t, g)
			default:
				before := len(g.read("alerts"))
				a.succeeds(t)
				if alerts := g.read("alerts")[before:]; alerts != "" {
					t.Errorf("alerts: %s", alerts)
				}
			}
		})
	}
	g.signal(syscall.SIGTERM)
	if err := <-g.exited; err != nil {
		t.Error(err)
	}
	t.Log(g.read("stderr"))
	// And all is as before.
	for _, a := range attempts {
		if a.name == "cat shadow" || a.name == "a forbidden script" {
			a.succeeds(t)
		}
	}
}

// missingHooks returns the hooks that check says this kernel has not.
func missingHooks(t *testing.T) map[string]bool {
	t.Helper()
	missing := map[string]bool{}
	for _, o := range readCheck(t).Operations {
		for _, h := range o.Hooks {
			if !h.Available {
				missing[h.Name] = true
			}
		}
	}
	return missing
}

// prepareSystem makes of the guest what the packages' maintainer scripts would,
// and the places and scripts of the attempts.
func prepareSystem(t *testing.T) {
	t.Helper()
	const permit = "auth required pam_permit.so\naccount required pam_permit.so\nsession required pam_permit.so\npassword required pam_permit.so\n"
	for path, content := range map[string]string{
		"/etc/pam.d/su": permit, "/etc/pam.d/sudo": permit, "/etc/pam.d/passwd": permit, "/etc/pam.d/other": permit,
		"/etc/sudoers":             "tester ALL=(ALL) NOPASSWD: ALL\nwww-data ALL=(ALL) NOPASSWD: ALL\n",
		"/var/www/html/index.html": "hello\n",
	} {
		write(t, path, 0o644, content)
	}
	for path, interpreter := range map[string]string{"/opt/forbidden": "/bin/sh", "/opt/by-sh": "/bin/sh", "/opt/by-bash": "/bin/bash"} {
		write(t, path, 0o755, "#!"+interpreter+"\necho ran\n")
	}
	for _, c := range []string{
		"ln /opt/forbidden /opt/linked",
		"touch /var/log/nginx/access.log /var/log/nginx/error.log",
		"chown www-data:adm /var/log/nginx/access.log /var/log/nginx/error.log",
		"umount -q /var/log/audit /boot || true",
		"mkdir -p /media/stick /mnt /srv/one /srv/two /boot /var/log/audit /run/sudo",
		"mount -t tmpfs none /var/log/audit",
		"mount -t tmpfs -o ro none /boot",
	} {
		undo(t, c)
	}
	// A server to connect to.
	listener, err := net.Listen("tcp4", "0.0.0.0:9000")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "upstream") })}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close() })
}

func preparePolicies(t *testing.T, folder string) {
	t.Helper()
	for _, name := range used {
		content, err := os.ReadFile(filepath.Join(examples, name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(folder, name), 0o600, string(content))
	}
	write(t, filepath.Join(folder, "stories.yaml"), 0o600, stories)
	write(t, filepath.Join(folder, "addresses.txt"), 0o600, "127.0.0.66\n127.0.1.0/24 # a network\n2001:db8::/32\n")
	out, err := exec.Command(command, "validate", folder).CombinedOutput()
	t.Logf("%s", out)
	if err != nil || !strings.Contains(string(out), "3 addresses") {
		t.Errorf("validate: %v, %s", err, out)
	}
}

// certificate makes the web server's own.
func certificate(t *testing.T) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, "/etc/ssl/site.pem", 0o644, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})))
	write(t, "/etc/ssl/private/site.key", 0o600, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}
