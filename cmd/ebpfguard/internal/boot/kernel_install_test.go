package boot

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	entryFile = "/efi/loader/entries/abc-" + release + ".conf"
	entryHere = "title Debian\nversion " + release + "\nsort-key debian\noptions root=/dev/vda1 ro\nlinux /abc/linux\n"
)

// newSystemdBoot is a machine with one kernel, whose entry kernel-install makes.
func newSystemdBoot(t *testing.T, files map[string]string) *fake {
	f := newFake(t, map[string]string{
		entryFile: entryHere, "/boot/vmlinuz-" + release: "", "/lib/modules/" + release + "/modules.dep": "", "/lib/modules/5.10.0/modules.dep": "",
		"/usr/sbin/bootctl": "",
	})
	for name, text := range files {
		f.write(name, text)
	}
	f.efi("LoaderInfo", "systemd-boot 252")
	f.efi("LoaderEntrySelected", "abc-"+release+".conf")
	f.program("kernel-install", "", func([]string) (string, error) {
		cmdline, err := (&kernelInstall{System: f.System}).cmdline()
		f.write(entryFile, strings.Replace(entryHere, "root=/dev/vda1 ro", strings.TrimSpace(cmdline), 1))
		return "", err
	})
	return f
}

func TestKernelInstall(t *testing.T) {
	const ran = "kernel-install add " + release + " /boot/vmlinuz-" + release
	for _, test := range []struct{ name, file, cmdline, diff, list string }{
		{"etc", kernelCmdline, "root=/dev/vda1 ro\n", "--- " + kernelCmdline + "\n+++ " + kernelCmdline + "\n-root=/dev/vda1 ro\n+root=/dev/vda1 ro lsm=" + list + ",bpf\n", list + ",bpf"},
		{"has lsm=", kernelCmdline, "root=/dev/vda1 lsm=yama ro\n", "--- " + kernelCmdline + "\n+++ " + kernelCmdline + "\n-root=/dev/vda1 lsm=yama ro\n+root=/dev/vda1 lsm=yama,bpf ro\n", "yama,bpf"},
		{"usr", "/usr/lib/kernel/cmdline", "root=/dev/vda1 ro\n", "--- /dev/null\n+++ " + kernelCmdline + "\n+root=/dev/vda1 ro lsm=" + list + ",bpf\n", list + ",bpf"},
		{"running", "", "", "--- /dev/null\n+++ " + kernelCmdline + "\n+root=/dev/vda1 ro quiet lsm=" + list + ",bpf\n", list + ",bpf"},
	} {
		t.Run(test.name, func(t *testing.T) {
			files := map[string]string{}
			if test.file != "" {
				files[test.file] = test.cmdline
			}
			f := newSystemdBoot(t, files)
			if _, err := f.run(Command{"kernel-install"}); err != nil {
				t.Fatal(err)
			}
			f.ran = nil
			was, created := "null", ""
			if test.list == "yama,bpf" {
				was = `"yama"`
			}
			if test.file != kernelCmdline {
				created = `,"created":true`
			}
			f.roundTrip(test.diff+"--- /dev/null\n+++ "+recordFile+"\n+{\"was\":"+was+",\"is\":\""+test.list+"\""+created+"}\n\n$ /usr/sbin/"+ran+"\n",
				"1 of 1 boot entries have lsm="+test.list+"\n")
			if want := []string{ran, ran}; !cmp.Equal(f.ran, want) {
				t.Errorf("ran %q, want %q", f.ran, want)
			}
		})
	}
}

func TestKernelInstallRefuses(t *testing.T) {
	f := newSystemdBoot(t, map[string]string{kernelCmdline: "ro\nquiet\n"})
	if _, err := f.Enable(); err == nil || !strings.Contains(err.Error(), kernelCmdline+" has several lines") {
		t.Errorf("several lines: %v", err)
	}
	f = newSystemdBoot(t, map[string]string{kernelCmdline: "ro\n"})
	f.programs["kernel-install"] = nil
	before := f.files()
	plan, err := f.Enable()
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Apply(t.Output(), plan); err == nil || !strings.HasPrefix(err.Error(), entryFile+" does not have lsm="+list+",bpf") {
		t.Errorf("no effect: %v", err)
	}
	if diff := cmp.Diff(before, f.files()); diff != "" {
		t.Error(diff)
	}
	f = newSystemdBoot(t, map[string]string{kernelCmdline: "ro\n"})
	f.apply(f.Enable())
	f.write(kernelCmdline, "ro lsm=yama\n")
	if _, err := f.Disable(); err == nil || err.Error() != kernelCmdline+": lsm= is not "+list+",bpf any more, which 'ebpfguard enable' had set; change it by hand and remove "+recordFile {
		t.Errorf("disable after another change: %v", err)
	}
}

func TestSystemdTrial(t *testing.T) {
	f := newSystemdBoot(t, nil)
	if err := os.Chmod(f.path(entryFile), 0o700); err != nil { // as FAT shows files
		t.Fatal(err)
	}
	before := f.files()
	plan, err := f.Try()
	if err != nil {
		t.Fatal(err)
	}
	const name = "/efi/loader/entries/ebpfguard-trial.conf"
	want := "--- /dev/null\n+++ " + name + `
+# Written by 'ebpfguard enable'; 'ebpfguard disable' removes it.
+version ` + release + `
+options root=/dev/vda1 ro
+linux /abc/linux
+title Trial of ebpfguard
+sort-key zzzz-ebpfguard
+options lsm=` + list + `,bpf panic=30

$ /usr/sbin/bootctl set-oneshot ebpfguard-trial.conf
`
	if diff := cmp.Diff(want, plan.String()); diff != "" {
		t.Errorf("the plan (-want +got):\n%s", diff)
	}
	if said := f.apply(plan, err); said != onlyNext+"\n" {
		t.Errorf("it said %q", said)
	}
	if info, err := os.Stat(f.path(name)); err != nil || info.Mode() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	f.apply(f.Disable())
	if diff := cmp.Diff(before, f.files()); diff != "" {
		t.Errorf("disabling left (-before +after):\n%s", diff)
	}

	f.write(entryFile, "title Debian\nlinux /abc/linux\n")
	if _, err := f.Try(); err == nil || !strings.Contains(err.Error(), entryFile+" has no sort-key, so nothing keeps a copy of it from becoming the default") {
		t.Errorf("no sort-key: %v", err)
	}
	f.efi("LoaderEntrySelected", "debian.efi")
	if _, err := f.Try(); err == nil || !strings.Contains(err.Error(), "which a unified kernel image does not have") {
		t.Errorf("an image: %v", err)
	}
}
