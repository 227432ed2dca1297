package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/cmd/ebpfguard/internal/boot"
)

// debianRoot is the root directory of a Debian with GRUB.
func debianRoot(t *testing.T) boot.System {
	root := t.TempDir()
	for name, text := range map[string]string{
		"proc/cmdline":           "ro quiet\n",
		"etc/default/grub":       "GRUB_CMDLINE_LINUX=quiet\n",
		"usr/sbin/grub-mkconfig": "for x in ${sysconfdir}/default/grub.d/*.cfg ; do",
		"usr/sbin/update-grub":   "",
		"boot/grub/grub.cfg":     "linux /vmlinuz quiet\n",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run := func(c boot.Command) (string, error) {
		if c[0] == "/usr/sbin/update-grub" {
			c = boot.Command{"/bin/sh", "-c", `cd "$0"; . ./etc/default/grub; for x in etc/default/grub.d/*.cfg; do test ! -e "$x" || . "./$x"; done
				echo "linux /vmlinuz $GRUB_CMDLINE_LINUX" >boot/grub/grub.cfg`, root}
		}
		out, err := exec.Command(c[0], c[1:]...).Output()
		return string(out), err
	}
	return boot.System{Root: root, Run: run, Modules: []string{"lockdown", "yama"}}
}

const (
	enableShown = `The boot loader: GRUB. The change:

--- /dev/null
+++ /etc/default/grub.d/ebpfguard.cfg
+# Written by 'ebpfguard enable'; 'ebpfguard disable' removes it.
+GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX lsm=lockdown,yama,bpf"

$ /usr/sbin/update-grub

`
	enableDone = "1 of 1 boot entries in /boot/grub/grub.cfg have lsm=lockdown,yama,bpf\nrestart\n"
)

func TestEnable(t *testing.T) {
	for _, test := range []struct {
		name    string
		flags   bootFlags
		asks    bool
		answer  string
		want    string
		err     string
		changed bool
	}{
		{name: "dry run", flags: bootFlags{dryRun: true}, asks: true, want: enableShown + "nothing changed (--dry-run)\n"},
		{name: "no terminal", answer: "y\n", want: enableShown,
			err: "enable: nothing changed: the standard input is no terminal, so nobody can be asked; add --yes to make this change"},
		{name: "no", asks: true, answer: "n\n", want: enableShown + "Make this change? [y/N] ", err: "enable: nothing changed"},
		{name: "no answer", asks: true, want: enableShown + "Make this change? [y/N] ", err: "enable: nothing changed"},
		{name: "yes", asks: true, answer: "Yes\n", want: enableShown + "Make this change? [y/N] " + enableDone, changed: true},
		{name: "--yes", flags: bootFlags{yes: true}, want: enableShown + enableDone, changed: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			system := debianRoot(t)
			var out bytes.Buffer
			err := test.flags.change(&out, strings.NewReader(test.answer), test.asks, system, system.Enable, "enable", "restart")
			if diff := cmp.Diff(test.want, out.String()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if got := errorText(err); got != test.err {
				t.Errorf("error %q, want %q", got, test.err)
			}
			config, err := os.ReadFile(filepath.Join(system.Root, "boot/grub/grub.cfg"))
			if err != nil || strings.Contains(string(config), "bpf") != test.changed {
				t.Errorf("%v, grub.cfg %s", err, config)
			}
		})
	}
}

func TestDisable(t *testing.T) {
	system := debianRoot(t)
	flags := bootFlags{yes: true}
	change := func(plan func() (*boot.Plan, error), want string) {
		t.Helper()
		var out bytes.Buffer
		if err := flags.change(&out, strings.NewReader(""), false, system, plan, "disable", "restart"); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
	change(system.Enable, enableShown+enableDone)
	change(system.Enable, "the next boots have lsm=lockdown,yama,bpf already: restart the machine, then run 'ebpfguard check'\n")
	change(system.Disable, `The boot loader: GRUB. The change:

--- /etc/default/grub.d/ebpfguard.cfg
+++ /dev/null
-# Written by 'ebpfguard enable'; 'ebpfguard disable' removes it.
-GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX lsm=lockdown,yama,bpf"

$ /usr/sbin/update-grub

restart
`)
	change(system.Disable, "'ebpfguard enable' changed nothing here that could be taken back\n")
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestParameterHelps(t *testing.T) {
	module := ebpfguard.Check{Name: ebpfguard.CheckModule, Required: true, Detail: "it did not run", Remedy: "write 1 to ftrace_enabled"}
	loading := ebpfguard.Check{Name: "loading LSM programs", Required: true, Detail: "an LSM program cannot be loaded", Remedy: "use a kernel built with CONFIG_BPF_LSM"}
	for _, test := range []struct {
		name   string
		report ebpfguard.Report
		want   string
	}{
		{"not active", ebpfguard.Report{LSMs: []string{"yama"}, Checks: []ebpfguard.Check{module}}, ""},
		{"modules not known", ebpfguard.Report{Checks: []ebpfguard.Check{module}}, ""},
		{"active", able(), ""},
		{"active, but does not run", ebpfguard.Report{LSMs: []string{"bpf"}, Checks: []ebpfguard.Check{module}},
			"a boot parameter does not help, because it did not run; write 1 to ftrace_enabled"},
		{"not compiled in", ebpfguard.Report{LSMs: []string{"yama"}, Checks: []ebpfguard.Check{loading}},
			"a boot parameter does not help, because an LSM program cannot be loaded; use a kernel built with CONFIG_BPF_LSM"},
	} {
		if got := errorText(parameterHelps(test.report)); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

func TestBootToolSays(t *testing.T) {
	out, err := runBootTool(boot.Command{"/bin/sh", "-c", "echo found; echo no space left >&2; exit 3"})
	if want := "exit status 3: no space left"; out != "found\n" || errorText(err) != want {
		t.Errorf("%q, %v", out, err)
	}
}
