package boot

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	debianSettings = `# If you change this file, run 'update-grub' afterwards
GRUB_DEFAULT=0
GRUB_CMDLINE_LINUX_DEFAULT="quiet"
GRUB_CMDLINE_LINUX="console=ttyS0"
`
	// readsDropIns is how Debian's grub-mkconfig reads them.
	readsDropIns = "for x in ${sysconfdir}/default/grub.d/*.cfg ; do"
	grubHead     = `if [ "${next_entry}" ] ; then
   set default="${next_entry}"
fi
`
	grubTail = "if [ -f  ${config_directory}/custom.cfg ]; then\n  source ${config_directory}/custom.cfg\nfi\n"
)

// newGRUB is a machine with GRUB. mkconfig is what its grub-mkconfig says.
func newGRUB(t *testing.T, settings, mkconfig string) *fake {
	f := newFake(t, map[string]string{grubSettings: settings})
	f.program("grub-mkconfig", mkconfig, func([]string) (string, error) { return "", f.mkconfig() })
	f.program("update-grub", "", func([]string) (string, error) { return "", f.mkconfig() })
	for _, name := range []string{"grub-reboot", "grub-probe", "grub-editenv"} {
		f.program(name, "", nil)
	}
	if err := f.mkconfig(); err != nil {
		t.Fatal(err)
	}
	return f
}

// mkconfig makes grub.cfg of the settings, in the order of Debian's 10_linux.
func (f *fake) mkconfig() error {
	out, err := exec.Command("/bin/sh", "-e", "-c", `. "$1/etc/default/grub"
for x in "$1"/etc/default/grub.d/*.cfg; do test ! -e "$x" || . "$x"; done
echo "menuentry 'Debian' --class debian \$menuentry_id_option 'gnulinux-simple-1' {"
echo "	linux /boot/vmlinuz-$2 root=/dev/vda1 ro $GRUB_CMDLINE_LINUX $GRUB_CMDLINE_LINUX_DEFAULT"
echo "	initrd /boot/initrd.img-$2"
echo "}"
echo "submenu 'Advanced' {"
echo "	menuentry 'Debian (recovery)' --class debian \$menuentry_id_option 'recovery' {"
echo "		linux /boot/vmlinuz-$2 root=/dev/vda1 ro single $GRUB_CMDLINE_LINUX"
echo "	}"
echo "}"`, "sh", f.Root, release).Output()
	f.write("/boot/grub/grub.cfg", grubHead+string(out)+grubTail)
	return err
}

func TestGRUBDropIn(t *testing.T) {
	f := newGRUB(t, debianSettings, readsDropIns)
	f.roundTrip(`--- /dev/null
+++ /etc/default/grub.d/ebpfguard.cfg
+# Written by 'ebpfguard enable'; 'ebpfguard disable' removes it.
+GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX lsm=`+list+`,bpf"

$ /usr/sbin/update-grub
`, "2 of 2 boot entries in /boot/grub/grub.cfg have lsm="+list+",bpf\n")
	if want := []string{"update-grub", "update-grub"}; !cmp.Equal(f.ran, want) {
		t.Errorf("ran %q, want %q", f.ran, want)
	}
}

// TestGRUBDefault extends a list in the variable for normal boots, where it counts.
func TestGRUBDefault(t *testing.T) {
	f := newGRUB(t, debianSettings+"GRUB_CMDLINE_LINUX_DEFAULT=\"lsm=yama,tomoyo quiet\"\n", readsDropIns)
	f.roundTrip(`--- /dev/null
+++ /etc/default/grub.d/ebpfguard.cfg
+# Written by 'ebpfguard enable'; 'ebpfguard disable' removes it.
+GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT lsm=yama,tomoyo,bpf"

$ /usr/sbin/update-grub
`, "1 of 2 boot entries in /boot/grub/grub.cfg have lsm=yama,tomoyo,bpf\n")
}

// TestGRUBSettings appends to the one file that a grub-mkconfig without drop-ins reads, and keeps its mode.
func TestGRUBSettings(t *testing.T) {
	f := newGRUB(t, debianSettings, "")
	if err := os.Remove(f.path("/usr/sbin/update-grub")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(f.path(grubSettings), 0o640); err != nil {
		t.Fatal(err)
	}
	f.roundTrip(`--- /etc/default/grub
+++ /etc/default/grub
+# Written by 'ebpfguard enable'; 'ebpfguard disable' removes it.
+GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX lsm=`+list+`,bpf"
+# End of what 'ebpfguard enable' wrote.

$ /usr/sbin/grub-mkconfig -o /boot/grub/grub.cfg
`, "2 of 2 boot entries in /boot/grub/grub.cfg have lsm="+list+",bpf\n")
}

// TestGRUBBefore knows the parameter when somebody else has set it.
func TestGRUBBefore(t *testing.T) {
	f := newGRUB(t, strings.ReplaceAll(debianSettings, "console=ttyS0", "lsm=bpf,yama"), readsDropIns)
	if plan, err := f.Enable(); err != nil || plan.Done != "the next boots have lsm=bpf,yama already: restart the machine, then run 'ebpfguard check'" {
		t.Errorf("%v, %+v", err, plan)
	}
	// Without update-grub the settings are no use.
	f.write("/boot/grub/grub.cfg", "\tlinux /boot/vmlinuz ro\n")
	plan, err := f.Enable()
	if err != nil || plan.String() != "$ /usr/sbin/update-grub\n" {
		t.Fatalf("%v, %s", err, plan)
	}
	f.apply(plan, err)
}

// TestGRUBFails wants everything as before when something goes wrong.
func TestGRUBFails(t *testing.T) {
	for _, test := range []struct {
		name  string
		spoil func(f *fake)
		want  string
	}{
		{"update-grub fails", func(f *fake) {
			f.programs["update-grub"] = func([]string) (string, error) { return "", errors.New("no space left") }
		}, "/usr/sbin/update-grub failed: no space left; the files are as before\ntaking it back: /usr/sbin/update-grub failed: no space left; find the cause and run it again"},
		{"the settings do not count", func(f *fake) {
			f.write("/etc/default/grub.d/zz.cfg", "GRUB_CMDLINE_LINUX=ro\n")
		}, "no boot entry in /boot/grub/grub.cfg has lsm=" + list + ",bpf: look for what else sets lsm=, in /etc/default/grub, /etc/default/grub.d and /etc/grub.d; the files are as before"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newGRUB(t, debianSettings, readsDropIns)
			test.spoil(f)
			if err := f.mkconfig(); err != nil {
				t.Fatal(err)
			}
			before := f.files()
			plan, err := f.Enable()
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Apply(t.Output(), plan); err == nil || err.Error() != test.want {
				t.Errorf("error %v\nwant  %s", err, test.want)
			}
			if diff := cmp.Diff(before, f.files()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestGRUBForeign touches no file that is not ours, or is not ours any more.
func TestGRUBForeign(t *testing.T) {
	for name, test := range map[string]struct{ file, text, want string }{
		"drop-in": {grubDropIn, "GRUB_TIMEOUT=1\n", grubDropIn + " was not written by 'ebpfguard enable'; look into it and remove it by hand"},
		"block":   {grubSettings, debianSettings + mark, grubSettings + ": the lines of 'ebpfguard enable' were changed since; remove them by hand"},
	} {
		f := newGRUB(t, debianSettings, readsDropIns)
		f.write(test.file, test.text)
		if _, err := f.Disable(); err == nil || err.Error() != test.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	f := newGRUB(t, debianSettings, readsDropIns)
	if err := errors.Join(os.MkdirAll(f.path("/etc/default/grub.d"), 0o755), os.Symlink("../grub", f.path(grubDropIn))); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Enable(); err == nil || err.Error() != grubDropIn+" is no regular file; change it by hand" {
		t.Errorf("a link: %v", err)
	}
}

func TestGRUBTrial(t *testing.T) {
	f := newGRUB(t, debianSettings, readsDropIns)
	f.programs["grub-probe"] = func(args []string) (string, error) {
		return map[string]string{"--target=abstraction": "\n", "--target=fs": "ext2\n"}[args[0]], nil
	}
	before := f.files()
	plan, err := f.Try()
	if err != nil {
		t.Fatal(err)
	}
	const want = `--- /dev/null
+++ /boot/grub/custom.cfg
+# Written by 'ebpfguard enable'; 'ebpfguard disable' removes it.
+menuentry 'Trial of ebpfguard' --class debian $menuentry_id_option 'ebpfguard-trial' {
+	linux /boot/vmlinuz-` + release + ` root=/dev/vda1 ro console=ttyS0 quiet lsm=` + list + `,bpf panic=30
+	initrd /boot/initrd.img-` + release + `
+}

$ /usr/sbin/grub-reboot ebpfguard-trial
`
	if diff := cmp.Diff(want, plan.String()); diff != "" {
		t.Errorf("the plan (-want +got):\n%s", diff)
	}
	if said := f.apply(plan, err); said != onlyNext+"\n" {
		t.Errorf("it said %q", said)
	}
	f.write("/boot/grub/grubenv", "# GRUB Environment Block\nnext_entry=ebpfguard-trial\n####")
	f.ran = nil
	f.apply(f.Disable())
	if want := []string{"grub-editenv /boot/grub/grubenv unset next_entry"}; !cmp.Equal(f.ran, want) {
		t.Errorf("ran %q, want %q", f.ran, want)
	}
	if err := os.Remove(f.path("/boot/grub/grubenv")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, f.files()); diff != "" {
		t.Errorf("disabling left (-before +after):\n%s", diff)
	}
	// Enabling for good ends a trial too.
	f.apply(f.Try())
	f.apply(f.Enable())
	if f.exists("/boot/grub/custom.cfg") {
		t.Error("the entry of the trial is left")
	}
}

// TestGRUBNoTrial wants a reason where a trial could repeat, or is not to be had.
func TestGRUBNoTrial(t *testing.T) {
	for name, test := range map[string]struct {
		probe [2]string
		files map[string]string
		want  string
	}{
		"LVM":        {[2]string{"lvm", "ext2"}, nil, "GRUB cannot write to /boot/grub at boot (it is on lvm), so the trial would repeat for ever"},
		"btrfs":      {[2]string{"", "btrfs"}, nil, "GRUB cannot write to /boot/grub at boot (it is on btrfs), so the trial would repeat for ever"},
		"custom.cfg": {[2]string{"", "ext2"}, map[string]string{"/boot/grub/custom.cfg": "menuentry mine {\n}\n"}, "/boot/grub/custom.cfg has entries of yours, and the one for the trial would have to go there"},
		"old GRUB":   {[2]string{"", "ext2"}, map[string]string{"/boot/grub/grub.cfg": "linux /vmlinuz\n"}, "/boot/grub/grub.cfg has no support for an entry that counts once (next_entry and custom.cfg)"},
		"kernel":     {[2]string{"", "ext2"}, map[string]string{"/proc/sys/kernel/osrelease": "6.9\n"}, "found no entry for the running kernel, 6.9, at the top of the menu in /boot/grub/grub.cfg"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newGRUB(t, debianSettings, readsDropIns)
			f.programs["grub-probe"] = func(args []string) (string, error) {
				return map[string]string{"--target=abstraction": test.probe[0], "--target=fs": test.probe[1]}[args[0]] + "\n", nil
			}
			for name, text := range test.files {
				f.write(name, text)
			}
			want := "a trial boot is not possible: " + test.want + "; enable without --try changes every boot, and in GRUB's menu the parameter can be taken out with the key e"
			if _, err := f.Try(); err == nil || err.Error() != want {
				t.Errorf("error %v\nwant  %s", err, want)
			}
		})
	}
}
