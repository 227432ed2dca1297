package boot

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
)

// fake is a system in a folder, whose programs are functions.
type fake struct {
	System
	t        *testing.T
	programs map[string]func(args []string) (string, error)
	// ran are the programs that ran, but for the shell, which only reads.
	ran []string
}

// modules are active ones without bpf.
var modules = []string{"lockdown", "capability", "landlock", "yama", "apparmor"}

const (
	list    = "lockdown,capability,landlock,yama,apparmor"
	release = "6.1.0-50-amd64"
)

func newFake(t *testing.T, files map[string]string) *fake {
	f := &fake{t: t, programs: map[string]func([]string) (string, error){}}
	f.System = System{Root: t.TempDir(), Run: f.run, Modules: modules}
	f.write("/proc/cmdline", "BOOT_IMAGE=/boot/vmlinuz-"+release+" root=/dev/vda1 ro quiet\n")
	f.write("/proc/sys/kernel/osrelease", release+"\n")
	for name, text := range files {
		f.write(name, text)
	}
	return f
}

func (f *fake) write(name, text string) {
	f.t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(f.path(name)), 0o755), os.WriteFile(f.path(name), []byte(text), 0o644)); err != nil {
		f.t.Fatal(err)
	}
}

// program installs one. Those without a function do nothing.
func (f *fake) program(name, text string, does func(args []string) (string, error)) {
	f.write("/usr/sbin/"+name, text)
	f.programs[name] = does
}

func (f *fake) run(c Command) (string, error) {
	name := path.Base(c[0])
	if name == "sh" {
		out, err := exec.Command(c[0], c[1:]...).Output()
		return string(out), err
	}
	f.ran = append(f.ran, strings.ReplaceAll(strings.Join(append([]string{name}, c[1:]...), " "), f.Root, ""))
	if does := f.programs[name]; does != nil {
		return does(c[1:])
	}
	return "", nil
}

// files returns the text and the mode of every file.
func (f *fake) files() map[string]string {
	f.t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(f.Root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		data, err := os.ReadFile(name)
		all[strings.TrimPrefix(name, f.Root)] = fmt.Sprintf("%v %s", info.Mode(), data)
		return err
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return all
}

// apply makes the change of a plan and returns what it says.
func (f *fake) apply(p *Plan, err error) string {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
	if p.Done != "" {
		f.t.Fatalf("nothing to do: %s", p.Done)
	}
	var b strings.Builder
	if err := f.Apply(&b, p); err != nil {
		f.t.Fatal(err)
	}
	return b.String()
}

// roundTrip enables, enables again, and disables, after which everything must be as before.
func (f *fake) roundTrip(wantPlan, wantSaid string) {
	t := f.t
	t.Helper()
	before := f.files()
	plan, err := f.Enable()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wantPlan, plan.String()); diff != "" {
		t.Errorf("the plan (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, f.files()); diff != "" {
		t.Errorf("planning changed something:\n%s", diff)
	}
	if said := f.apply(plan, err); said != wantSaid {
		t.Errorf("it said %q, want %q", said, wantSaid)
	}
	enabled := f.files()
	if again, err := f.Enable(); err != nil || !strings.HasPrefix(again.Done, "the next boots have lsm=") || !strings.HasSuffix(again.Done, "restart the machine, then run 'ebpfguard check'") {
		t.Errorf("enabling again: %v, %+v", err, again)
	}
	active := f.System
	active.Modules = append(slices.Clone(modules), "bpf")
	f.write("/proc/cmdline", "lsm=lockdown,bpf")
	if again, err := active.Enable(); err != nil || !strings.HasSuffix(again.Done, ": nothing to do") {
		t.Errorf("enabling after a boot: %v, %+v", err, again)
	}
	f.write("/proc/cmdline", before["/proc/cmdline"][len("-rw-r--r-- "):])
	if diff := cmp.Diff(enabled, f.files()); diff != "" {
		t.Errorf("enabling again changed something:\n%s", diff)
	}
	f.apply(f.Disable())
	if diff := cmp.Diff(before, f.files()); diff != "" {
		t.Errorf("disabling left (-before +after):\n%s", diff)
	}
	if again, err := f.Disable(); err != nil || again.Done != nothingToTakeBack {
		t.Errorf("disabling again: %v, %+v", err, again)
	}
}

// efi sets an EFI variable.
func (f *fake) efi(name, text string) {
	data := []byte{6, 0, 0, 0}
	for _, unit := range utf16.Encode([]rune(text + "\x00")) {
		data = append(data, byte(unit), byte(unit>>8))
	}
	f.write("/sys/firmware/efi/efivars/"+name+"-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f", string(data))
}

func TestParameter(t *testing.T) {
	for _, test := range []struct{ before, list, with, without string }{
		{"ro quiet\n", "a,bpf", "ro quiet lsm=a,bpf\n", "ro quiet\n"},
		{"ro quiet", "a,bpf", "ro quiet lsm=a,bpf", "ro quiet"},
		{"", "a,bpf", "lsm=a,bpf", ""},
		{"ro lsm=a quiet", "a,bpf", "ro lsm=a,bpf quiet", "ro quiet"},
		{"lsm=a quiet", "a,bpf", "lsm=a,bpf quiet", "quiet"},
		{"lsm=x ro lsm=a", "a,bpf", "lsm=x ro lsm=a,bpf", "lsm=x ro"},
		{"no_lsm=a", "bpf", "no_lsm=a lsm=bpf", "no_lsm=a"},
	} {
		with := withParameter(test.before, test.list)
		if got, set := parameter(with); with != test.with || got != test.list || !set || !namesBPF(with) {
			t.Errorf("%q with lsm=%s: %q", test.before, test.list, with)
		}
		if got := withoutParameter(with, test.list); got != test.without {
			t.Errorf("%q without it: %q, want %q", with, got, test.without)
		}
	}
	if namesBPF("lsm=a,bpfx") || namesBPF("ro") {
		t.Error("bpf is named where it is not")
	}
}

func TestWanted(t *testing.T) {
	for _, test := range []struct {
		name       string
		modules    []string
		configured string
		set        bool
		config     string
		want, err  string
	}{
		{name: "active", modules: modules, want: list + ",bpf"},
		{name: "after a trial", modules: []string{"yama", "bpf", "ima"}, want: "yama,bpf,ima"},
		{name: "configured", modules: modules, configured: "yama,selinux", set: true, want: "yama,selinux,bpf"},
		{name: "configured with bpf", modules: modules, configured: "bpf,yama", set: true, want: "bpf,yama"},
		{name: "configured empty", modules: modules, set: true, want: "bpf"},
		{name: "built in", config: "CONFIG_LSM=\"landlock,yama\"\n", want: "landlock,yama,bpf"},
		{name: "not known", err: "the active security modules are not known; mount securityfs"},
		{name: "shell", configured: "a;reboot", set: true, err: `"a;reboot,bpf" is no list of security modules`},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFake(t, nil)
			f.Modules = test.modules
			if test.config != "" {
				f.write("/boot/config-"+release, test.config)
			}
			got, err := f.wanted(test.configured, test.set)
			if got != test.want || (err == nil) != (test.err == "") || err != nil && !strings.HasPrefix(err.Error(), test.err) {
				t.Errorf("%q, %v; want %q, %s", got, err, test.want, test.err)
			}
		})
	}
}

func TestByItself(t *testing.T) {
	f := newFake(t, nil)
	f.Modules = []string{"lockdown", "bpf"}
	plan, err := f.Enable()
	if err != nil || plan.Done != "the bpf security module is active, and this kernel needs no parameter for that: nothing to do" {
		t.Errorf("%v, %+v", err, plan)
	}
	if plan, err := f.Try(); err != nil || plan.Done != "the bpf security module is active already, so there is nothing to try" {
		t.Errorf("try: %v, %+v", err, plan)
	}
}

// TestUnknown wants a refusal where the boot loader is not certain, with what to do by hand.
func TestUnknown(t *testing.T) {
	const byHand = "; by hand, add lsm=" + list + ",bpf to the kernel command line (if it has lsm= already, add ,bpf there) and restart the machine"
	grub, systemd := "/boot/grub/grub.cfg", "/boot/efi/EFI/systemd/systemd-bootx64.efi"
	for _, test := range []struct {
		name  string
		files map[string]string
		efi   string
		want  string
	}{
		{"nothing", nil, "", "found neither GRUB (grub.cfg below /boot/grub or /boot/grub2), nor boot entries for grubby, nor systemd-boot"},
		{"OSTree", map[string]string{"/run/ostree-booted": "", grub: ""}, "", "this is an OSTree system; set the parameter with rpm-ostree kargs"},
		{"two", map[string]string{grub: "", systemd: ""}, "", "both GRUB and systemd-boot are installed, and nothing tells which one boots the machine"},
		{"no grub-mkconfig", map[string]string{grub: "", systemd: ""}, "LoaderInfo=GRUB 2.12", "GRUB boots this machine, but grub-mkconfig is not installed"},
		{"image", map[string]string{grub: ""}, "StubInfo=systemd-stub 257", "the firmware starts a unified kernel image, which holds the kernel command line; build it with another one"},
		{"no settings", map[string]string{grub: "", "/usr/bin/grub-mkconfig": ""}, "", "GRUB boots this machine, but there is no /etc/default/grub"},
		{"blscfg", map[string]string{"/boot/grub2/grub.cfg": "blscfg\n", "/usr/sbin/grub2-mkconfig": ""}, "", "GRUB reads boot entries of its own here (blscfg), which only grubby can change, and grubby is not installed"},
		{"entries by hand", map[string]string{"/boot/loader/entries/arch.conf": "", "/lib/modules/6.9/vmlinuz": "", "/usr/bin/kernel-install": ""}, "LoaderInfo=systemd-boot 257",
			"systemd-boot boots this machine, but its entries were not made by kernel-install; change the line that begins with options, in the .conf files of loader/entries"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFake(t, test.files)
			if name, text, ok := strings.Cut(test.efi, "="); ok {
				f.efi(name, text)
			}
			before := f.files()
			want := "cannot change how this machine boots: " + test.want
			for name, step := range map[string]func() (*Plan, error){"enable": f.Enable, "try": f.Try} {
				if _, err := step(); !errors.Is(err, ErrUnknown) || err.Error() != want+byHand {
					t.Errorf("%s: %v\nwant %s", name, err, want+byHand)
				}
			}
			if _, err := f.Disable(); err == nil || err.Error() != want {
				t.Errorf("disable: %v", err)
			}
			if !maps.Equal(before, f.files()) {
				t.Error("a file has changed")
			}
		})
	}
}
