//go:build vm

package examples

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// folder has the examples in the guest.
const folder = "/src/examples"

// attack is what an example forbids, done by a shell.
type attack struct {
	example, policy string
	verdict         policy.Verdict
	// before prepares it, after undoes that.
	before, after string
	// command is the attack, and refused what its output and its end match when it is refused, and only then.
	command, refused string
	// bystander is something like it that nobody forbids; its output must not match.
	bystander string
	// container, if there is one, is where command and bystander run.
	container *policy.Container
}

// cgroup is the control group of containers.
const cgroup = "/sys/fs/cgroup/container"

// bind has curl take a local port; the connection that follows is refused by nobody who listens (exit status 7), taking
// the port by the guard (45).
func bind(program, arguments string) string {
	return program + " -sS " + arguments + " http://127.0.0.1:1/; echo status $?"
}

const (
	notBound     = `status 45`
	notPermitted = `[Oo]peration not permitted`
	killed       = `[Kk]illed`
)

var attacks = []attack{
	{example: "audit-first", policy: "audit-first", verdict: policy.Audit,
		command: bind("curl", "--local-port 99"), bystander: bind("curl", "--local-port 2022")},
	{example: "blocklist", policy: "blocklist", verdict: policy.Deny,
		command: "bash -c '</dev/tcp/192.0.2.7/80'", refused: notPermitted, bystander: "bash -c '</dev/tcp/127.0.0.1/1'"},
	{example: "blocklist", policy: "blocklist", verdict: policy.Deny, // an address of IPv4 as one of IPv6
		command: "curl -sv -g 'http://[::ffff:198.51.100.7]/'", refused: notPermitted, bystander: "curl -sv -g 'http://[::ffff:127.0.0.1]:1/'"},
	{example: "containers", policy: "no-shells-for-nginx", verdict: policy.Deny, container: &policy.Container{ID: "0123456789abcdef", Image: "nginx:1.27"},
		before: "mkdir -p /srv; cp /usr/bin/env /srv/env; mount --bind /srv/env /usr/sbin/nginx", after: "umount /usr/sbin/nginx",
		command: "nginx env /bin/bash -c true", refused: notPermitted, bystander: "/bin/bash -c true"},
	{example: "containers", policy: "no-metadata-for-containers", verdict: policy.Deny, container: &policy.Container{ID: "0123456789abcdef", Image: "postgres"},
		command: "bash -c 'echo x >/dev/udp/169.254.169.254/80'", refused: notPermitted, bystander: "bash -c 'echo x >/dev/udp/127.0.0.1/80'"},
	{example: "keep-logs", policy: "keep-logs", verdict: policy.Deny,
		before: "mkdir -p /var/log/kept /srv/kept; mount -t tmpfs none /var/log/kept", after: "umount /var/log/kept",
		command: "umount -l /var/log/kept", refused: "must be superuser", bystander: "mount -t tmpfs none /srv/kept && umount /srv/kept"},
	{example: "keep-read-only", policy: "keep-read-only", verdict: policy.Deny,
		before: "mkdir -p /boot; mount -t tmpfs -o ro none /boot", after: "umount /boot",
		command: "mount -o remount,rw /boot", refused: "permission denied", bystander: "mount -o remount,ro,noexec /boot"},
	{example: "kernel-helpers", policy: "kernel-helpers", verdict: policy.Deny, // by another mount of proc
		before: "mkdir -p /srv/proc; mount -t proc proc /srv/proc", after: "umount /srv/proc",
		command: "cat /proc/sys/kernel/core_pattern >/tmp/pattern; cat /tmp/pattern >/srv/proc/sys/kernel/core_pattern", refused: notPermitted,
		bystander: "cat /srv/proc/sys/kernel/core_pattern"},
	{example: "loopback-only", policy: "database-on-loopback", verdict: policy.Deny,
		before: "cp /usr/bin/curl /usr/bin/redis-server", after: "rm /usr/bin/redis-server",
		command: bind("redis-server", "--local-port 7000"), refused: notBound, bystander: bind("redis-server", "--interface 127.0.0.1 --local-port 7001")},
	{example: "no-fileless-programs", policy: "no-fileless-programs", verdict: policy.Kill,
		before: "mkdir -p /dev/shm /srv/programs; mountpoint -q /dev/shm || mount -t tmpfs none /dev/shm; cp /usr/bin/id /dev/shm/id; cp /usr/bin/id /srv/programs/id",
		after:  "rm /dev/shm/id", command: "/dev/shm/id", refused: killed, bystander: "/srv/programs/id"},
	{example: "no-fileless-programs", policy: "no-fileless-programs", verdict: policy.Deny,
		before: "cp /usr/bin/id /tmp/id", after: "rm /tmp/id", command: "cd /tmp; exec ./id", refused: "([Oo]peration not permitted|[Pp]ermission denied)", bystander: "id"},
	{example: "no-metadata-service", policy: "no-metadata-service", verdict: policy.Deny,
		command: "bash -c 'echo x >/dev/udp/169.254.169.254/80'", refused: notPermitted, bystander: "bash -c 'echo x >/dev/udp/127.0.0.1/80'"},
	{example: "no-rogue-sshd", policy: "no-rogue-sshd", verdict: policy.Deny,
		command: bind("curl", "--local-port 22"), refused: notBound, bystander: bind("curl", "--local-port 2022")},
	{example: "no-way-back-to-root", policy: "no-way-back-to-root", verdict: policy.Kill,
		before: "cp /usr/bin/dash /usr/sbin/apache2", after: "rm /usr/sbin/apache2",
		command: "apache2 -c 'chroot --userspec=33:33 / sh -c \"su root -c true </dev/null; true\"'", refused: killed,
		bystander: "apache2 -c 'chroot --userspec=33:33 / id'"},
	{example: "only-sshd-on-22", policy: "only-sshd-on-22", verdict: policy.Deny,
		command: bind("curl", "--local-port 22"), refused: notBound, bystander: bind("curl", "--local-port 2022")},
	{example: "only-web-ports", policy: "only-web-ports", verdict: policy.Deny,
		before: "cp /usr/bin/curl /srv/web; mount --bind /srv/web /usr/sbin/nginx", after: "umount /usr/sbin/nginx",
		command: bind("nginx", "--local-port 8080"), refused: notBound, bystander: bind("nginx", "--local-port 80")},
	{example: "original", policy: "original", verdict: policy.Deny,
		before: "mkdir -p /root/s3cr3tdir; echo secret >/root/s3cr3tdir/file; ln -f /root/s3cr3tdir/file /root/s3cr3tdir/second", after: "rm -r /root/s3cr3tdir",
		command: "cd /root; cat s3cr3tdir/second", refused: notPermitted, bystander: "cat /etc/passwd"},
	{example: "protect-passwords", policy: "protect-passwords", verdict: policy.Deny, // by a name from before
		before: "ln -f /etc/shadow /etc/backup", after: "rm /etc/backup",
		command: "cat /etc/backup", refused: notPermitted, bystander: "passwd -S root"},
	{example: "removable-media", policy: "removable-media", verdict: policy.Deny,
		before: "mkdir -p /mnt/stick", command: "mount -t tmpfs none /mnt/stick && umount /mnt/stick", refused: "permission denied",
		bystander: "mount -t tmpfs -o nosuid,nodev none /mnt/stick && umount /mnt/stick"},
	{example: "self-protection", policy: "self-protection", verdict: policy.Deny,
		command: "echo 1 >/proc/sys/kernel/ftrace_enabled", refused: notPermitted, bystander: "cat /proc/sys/kernel/ftrace_enabled"},
}

// elsewhere are the examples that other tests attack.
var elsewhere = map[string]string{"web-server": "TestPrograms of cmd/ebpfguard/vm has nginx exploited"}

// TestExamples does what each example forbids: without it, when it succeeds, and under it, when it is refused with an
// alert and something like it is not.
func TestExamples(t *testing.T) {
	g := guardtest.Shared(t)
	files, err := filepath.Glob(folder + "/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v: no examples in %s", err, folder)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		found := elsewhere[name] != ""
		for _, a := range attacks {
			if a.example == name {
				found = true
				t.Run(name, func(t *testing.T) { a.try(t, g, file) })
			}
		}
		if !found {
			t.Errorf("nothing attacks the example %s", name)
		}
	}
}

func (a attack) try(t *testing.T, g *guardtest.Guard, file string) {
	set, err := policy.Load(file)
	guardtest.Check(t, err)
	if a.before != "" {
		must(t, a.before)
	}
	if a.after != "" {
		t.Cleanup(func() { must(t, a.after) })
	}
	if a.container != nil {
		guardtest.Check(t, os.Mkdir(cgroup, 0o755))
		t.Cleanup(func() { guardtest.Check(t, os.Remove(cgroup)) })
		info, err := os.Stat(cgroup)
		guardtest.Check(t, err)
		guardtest.Check(t, g.AddContainer(info.Sys().(*syscall.Stat_t).Ino, *a.container))
		t.Cleanup(func() { guardtest.Check(t, g.RemoveContainer(a.container.ID)) })
	}
	a.expect(t, a.command, false)
	a.expect(t, a.bystander, false)
	// The attack may have done what it was for.
	if a.before != "" {
		if a.after != "" {
			_ = exec.Command("/bin/sh", "-c", a.after).Run()
		}
		must(t, a.before)
	}
	alerts := g.Divert(t)
	g.Use(t, set...)
	a.expect(t, a.command, a.refused != "")
	a.expect(t, a.bystander, false)
	g.Settle(t)
	var seen []string
	for {
		select {
		case alert := <-alerts:
			c := alert.Context()
			seen = append(seen, fmt.Sprint(alert))
			if strings.HasPrefix(c.Policy, a.policy) && c.Verdict == a.verdict {
				return
			}
		default:
			t.Fatalf("no alert of %s with verdict %s among %d:\n%s", a.policy, a.verdict, len(seen), strings.Join(seen, "\n"))
		}
	}
}

// expect runs a command, and says whether it has to be refused.
func (a attack) expect(t *testing.T, command string, refused bool) {
	t.Helper()
	shell := []string{"/bin/sh", "-c", command}
	if a.container != nil {
		shell = []string{"/bin/sh", "-c", "echo $$ >" + cgroup + "/cgroup.procs; exec /bin/sh -c \"$1\"", "sh", command}
	}
	out, err := exec.Command(shell[0], shell[1:]...).CombinedOutput()
	text := fmt.Sprintf("%s%v", out, err)
	if a.refused != "" && regexp.MustCompile(a.refused).MatchString(text) != refused {
		t.Errorf("%s: refused %v, want %v:\n%s", command, !refused, refused, text)
	}
}

func must(t *testing.T, command string) {
	t.Helper()
	if out, err := exec.Command("/bin/sh", "-c", command).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
}
