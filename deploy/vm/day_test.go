//go:build vm_deb

package vm

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
	choreTime = 8 * time.Minute
)

// unfit are the examples that are not for a server on which packages come and go, and why.
var unfit = map[string]string{
	"original": "it forbids all mounts and all changes of identity, as the examples of the original library did",
}

// chore is something that an administrator, or cron, does on a usual day.
type chore struct{ name, command string }

// day is one. The packages among its archives have users, services, triggers and scripts of several languages.
var day = []chore{
	{"install packages", "dpkg -i " + archives + "/*.deb"},
	{"add a user", "useradd --create-home --shell /bin/bash worker && echo worker:secret | chpasswd"},
	{"change a user", "usermod --comment Worker --append --groups sudo worker && chage --maxdays 90 worker && chfn --full-name W worker"},
	{"add a group", "groupadd workers && gpasswd --add worker workers"},
	{"look at passwords", "passwd --status worker && chage --list worker && getent shadow worker"},
	{"lock a user", "passwd --lock worker && passwd --unlock worker"},
	{"check the files of users", "pwck --read-only --quiet; grpck --read-only"},
	{"become a user", "su - worker --command id && sudo --user worker id"},
	{"run what cron runs each day", "run-parts --exit-on-error /etc/cron.daily"},
	{"rotate logs", "logrotate --force /etc/logrotate.conf"},
	{"back the machine up", "tar --create --one-file-system --file /srv/backup.tar /etc /root /var/log /usr/bin && tar --compare --file /srv/backup.tar -C / etc/hostname"},
	{"restore from the backup", "mkdir -p /srv/restored && tar --extract --file /srv/backup.tar --directory /srv/restored"},
	{"copy with rsync", "rsync --archive /etc/ /srv/etc/"},
	{"work with git", "cd /srv && git init --quiet work && cd work && git config user.email w@localhost && git config user.name W && cp /etc/passwd . && git add . && git commit --quiet --message first"},
	{"keep a database", "sqlite3 /srv/day.sqlite 'create table t (n); insert into t values (1); select * from t'"},
	{"run a script", "python3 -c 'import subprocess, tempfile; print(subprocess.check_output([\"id\"]), tempfile.mkdtemp())'"},
	{"mount a file system", "mkdir -p /srv/scratch && mount -t tmpfs -o nosuid,nodev none /srv/scratch && touch /srv/scratch/file && umount /srv/scratch"},
	{"set a parameter of the kernel", "sysctl --write vm.swappiness=50 && systemctl restart systemd-sysctl"},
	{"start a container", `mkdir -p /srv/bundle/rootfs/bin && cp /usr/bin/busybox /srv/bundle/rootfs/bin/ && cd /srv/bundle && rm -f config.json && runc spec && ` +
		`sed -i 's/"terminal": true/"terminal": false/; s/"sh"/"\/bin\/busybox", "echo", "hello from the container"/' config.json && runc run day`},
	{"restart services", "systemctl restart cron && systemctl daemon-reexec && systemctl --no-pager list-units --failed"},
	{"upgrade packages", "dpkg -i " + archives + "/*.deb"},
	{"remove a user", "deluser --quiet worker workers && userdel --remove worker && groupdel workers"},
	{"remove packages", "dpkg --purge --force-depends $(for f in " + archives + "/*.deb; do dpkg-deb --field $f Package; done)"},
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

// TestDay spends a day of a server under all examples: nothing of it is refused.
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
			for _, alert := range alertsSoFar(t)[len(before):] {
				t.Errorf("%s is refused: %s", c.name, alert)
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
