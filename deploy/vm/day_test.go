//go:build vm_deb

package vm

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	// examples are the policies that the project ships, archives the packages of the day.
	examples = "/src/examples"
	archives = "/srv/archives"

	alertFile = "/var/log/ebpfguard/alerts.json"

	// choreTime is many times what a chore takes in emulation.
	choreTime = 15 * time.Minute
)

// unfit are the examples that are not for a server on which packages come and go, and why.
var unfit = map[string]string{
	"original": "it forbids all mounts and all changes of identity, as the examples of the original library did",
}

// chore is something that an administrator, or cron, does on a usual day.
type chore struct {
	name, command string
	// refused is what of it is meant to be refused: the program and the file that an alert has to name.
	refused string
}

// day is one. The packages among its archives have users, services, triggers and scripts of several languages.
var day = []chore{
	{name: "install packages", command: "dpkg --force-unsafe-io -i " + archives + "/*.deb"},
	{name: "add a user", command: "useradd --create-home --shell /bin/bash worker && echo worker:secret | chpasswd"},
	{name: "change a user", command: "usermod --comment Worker --append --groups sudo worker && chage --maxdays 90 worker && chfn --full-name W worker"},
	{name: "add a group", command: "groupadd workers && gpasswd --add worker workers"},
	{name: "look at passwords", command: "passwd --status worker && chage --list worker"},
	{name: "lock a user", command: "passwd --lock worker && passwd --unlock worker"},
	{name: "check the files of users", command: "pwck --read-only --quiet; grpck --read-only"},
	{name: "become a user", command: "su - worker --command id && sudo --user worker id"},
	{name: "run what cron runs each day", command: "run-parts --exit-on-error /etc/cron.daily"},
	{name: "rotate logs", command: "logrotate --force /etc/logrotate.conf"},
	{name: "back the machine up", command: "tar --create --one-file-system --file /srv/backup.tar /etc /root /var/log; test $? = 2 && tar --compare --file /srv/backup.tar -C / etc/hostname",
		refused: "/usr/bin/tar /etc/g?shadow-?"},
	{name: "restore from the backup", command: "mkdir -p /srv/restored && tar --extract --file /srv/backup.tar --directory /srv/restored"},
	{name: "copy with rsync", command: "rsync --archive /etc/ /srv/etc/; test $? = 23", refused: "/usr/bin/rsync /etc/g?shadow-?"},
	{name: "keep a database", command: "sqlite3 /srv/day.sqlite 'create table t (n); insert into t values (1); select * from t'"},
	{name: "run a script", command: "printf '#!/usr/bin/perl\\nuse File::Temp; print File::Temp->newdir(), `id`;\\n' >/srv/script && chmod +x /srv/script && /srv/script"},
	{name: "pack files", command: "cd /srv && zip -q etc.zip etc/passwd && file etc.zip && echo 2+2 | bc"},
	{name: "mount a file system", command: "mkdir -p /srv/scratch && mount -t tmpfs -o nosuid,nodev none /srv/scratch && touch /srv/scratch/file && umount /srv/scratch"},
	{name: "set a parameter of the kernel", command: "sysctl --write vm.swappiness=50 && systemctl restart systemd-sysctl"},
	{name: "start a container", command: `mkdir -p /srv/bundle/rootfs/bin && cp /usr/bin/busybox /srv/bundle/rootfs/bin/ && cd /srv/bundle && rm -f config.json && runc spec && ` +
		`sed -i 's/"terminal": true/"terminal": false/; s/"sh"/"\/bin\/busybox", "echo", "hello from the container"/' config.json && runc run day`},
	{name: "restart services", command: "systemctl restart cron && systemctl daemon-reexec && systemctl --no-pager list-units --failed"},
	{name: "upgrade packages", command: "dpkg --force-unsafe-io -i " + archives + "/*.deb"},
	{name: "remove a user", command: "deluser --quiet worker workers && userdel --remove worker && groupdel workers"},
	{name: "remove packages", command: "dpkg --purge --force-depends $(for f in " + archives + "/*.deb; do dpkg-deb --field $f Package; done)",
		refused: "/usr/bin/getent /etc/shadow"}, // by the script that asks before sudo goes
}

// do does it, and tells what it had printed when it takes too long.
func (c chore) do(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), choreTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", c.command)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "HOME=/root")
	cmd.WaitDelay = 10 * time.Second // what it started may keep its output open
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		processes, _ := command("ps", "-ef", "--forest")
		t.Errorf("%s: not done after %v:\n%s\n%s", c.name, choreTime, out, processes)
	} else if err != nil {
		t.Errorf("%s: %v\n%s", c.command, err, out)
	}
}

// TestDay spends a day of a server under all examples: nothing of it is refused but what they are for.
func TestDay(t *testing.T) {
	part(t, "install", func(t *testing.T) {
		run(t, "dpkg", "-i", deb(t, "0.0.2"))
		waitActive(t, 0)
		// Stopped, so that it does not begin to read what is half there.
		run(t, "systemctl", "stop", unit)
		config := "outputs:\n- {type: file, path: " + alertFile + "}\n"
		if err := os.WriteFile("/etc/ebpfguard/config.yaml", []byte(config), 0o640); err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(examples + "/*.yaml")
		if err != nil || len(files) < 10 {
			t.Fatalf("%v: %d examples in %s", err, len(files), examples)
		}
		for _, file := range append(files, examples+"/blocklist.txt") {
			if unfit[strings.TrimSuffix(filepath.Base(file), ".yaml")] == "" {
				run(t, "install", "-m", "600", file, policies)
			}
		}
		run(t, "systemctl", "start", unit)
		waitActive(t, 0)
		t.Log(run(t, "ebpfguard", "status"))
	})
	for _, c := range day {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			before := alertsSoFar(t)
			c.do(t)
			found := false
			for _, text := range alertsSoFar(t)[len(before):] {
				var alert struct {
					Process struct{ Binary string }
					Object  struct{ Path string }
				}
				if err := json.Unmarshal([]byte(text), &alert); err != nil {
					t.Fatalf("%v: %s", err, text)
				}
				if c.refused != "" && regexp.MustCompile("^"+c.refused+"$").MatchString(alert.Process.Binary+" "+alert.Object.Path) {
					found = true
				} else {
					t.Errorf("%s is refused: %s", c.name, text)
				}
			}
			if c.refused != "" && !found {
				t.Errorf("%s is not refused", c.refused)
			}
		})
	}
	part(t, "enforced", func(t *testing.T) {
		// It was in force all the time: what it forbids is still refused.
		if out, err := command("cat", "/etc/shadow"); err == nil || !strings.Contains(out, "Operation not permitted") {
			t.Errorf("%v: %.80s", err, out)
		}
		eventually(t, "the alert", func() bool {
			return slices.ContainsFunc(alertsSoFar(t), func(a string) bool { return strings.Contains(a, "/etc/shadow") })
		})
	})
	part(t, "purge", func(t *testing.T) { run(t, "dpkg", "--purge", "ebpfguard") })
}

// alertsSoFar returns the alerts of what was refused, once what was is in the file.
func alertsSoFar(t *testing.T) []string {
	t.Helper()
	var status struct {
		Alerts struct {
			Sinks []struct{ Written, Dropped, Filtered json.Number }
			Read  json.Number
		}
	}
	var all []string
	eventually(t, "every alert is written", func() bool {
		if err := json.Unmarshal([]byte(run(t, "ebpfguard", "status", "-o", "json")), &status); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(alertFile)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		all = strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
		if all[0] == "" {
			all = nil
		}
		return len(status.Alerts.Sinks) == 1 && status.Alerts.Sinks[0].Written.String() == fmt.Sprint(len(all))
	})
	return slices.DeleteFunc(all, func(a string) bool { return strings.Contains(a, `"verdict":"audit"`) })
}
