package boot

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// newGrubby is a Fedora whose entries have these parameters.
func newGrubby(t *testing.T, entries ...string) *fake {
	f := newFake(t, map[string]string{"/boot/grub2/grub.cfg": "blscfg\n", "/boot/loader/entries/a.conf": ""})
	f.program("grubby", "", func(args []string) (string, error) {
		if args[0] == "--info=ALL" {
			var b strings.Builder
			for _, args := range entries {
				b.WriteString("index=0\nkernel=\"/boot/vmlinuz\"\nargs=\"" + args + "\"\n")
			}
			return b.String(), nil
		}
		for i, words := range entries {
			current, _ := parameter(words)
			entries[i] = withoutParameter(words, current)
			if len(args) == 3 {
				entries[i] = withParameter(entries[i], strings.TrimPrefix(args[2], "--args=lsm="))
			}
		}
		return "", nil
	})
	return f
}

func TestGrubby(t *testing.T) {
	for _, test := range []struct{ name, before, removed, list, back string }{
		{"none", "ro quiet", "", list + ",bpf", "grubby --update-kernel=ALL --remove-args=lsm"},
		{"has lsm=", "ro lsm=selinux,yama", "-lsm=selinux,yama\n", "selinux,yama,bpf", "grubby --update-kernel=ALL --remove-args=lsm --args=lsm=selinux,yama"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newGrubby(t, test.before, test.before)
			f.roundTrip(`--- the parameters of every boot entry
+++ the parameters of every boot entry
`+test.removed+`+lsm=`+test.list+`
--- /dev/null
+++ /var/lib/ebpfguard/boot.json
+`+map[bool]string{true: `{"was":null,`, false: `{"was":"selinux,yama",`}[test.removed == ""]+`"is":"`+test.list+`"}

$ /usr/sbin/grubby --update-kernel=ALL --remove-args=lsm --args=lsm=`+test.list+`
`, "all boot entries have lsm="+test.list+"\n")
			var changes []string
			for _, c := range f.ran {
				if c != "grubby --info=ALL" {
					changes = append(changes, c)
				}
			}
			if want := []string{"grubby --update-kernel=ALL --remove-args=lsm --args=lsm=" + test.list, test.back}; !cmp.Equal(changes, want) {
				t.Errorf("ran %q, want %q", changes, want)
			}
		})
	}
}

func TestGrubbyRefuses(t *testing.T) {
	f := newGrubby(t, "ro lsm=a", "ro lsm=b")
	if _, err := f.Enable(); !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "the boot entries differ in lsm=") {
		t.Errorf("entries that differ: %v", err)
	}
	f = newGrubby(t)
	if _, err := f.Enable(); !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "grubby --info=ALL shows no boot entry") {
		t.Errorf("no entry: %v", err)
	}
	entries := []string{"ro"}
	f = newGrubby(t, entries...)
	if _, err := f.Try(); err == nil || !strings.HasPrefix(err.Error(), "a trial boot is not possible with grubby's entries") {
		t.Errorf("trial: %v", err)
	}
	f.apply(f.Enable())
	if _, err := f.Run(Command{"/usr/sbin/grubby", "--update-kernel=ALL", "--remove-args=lsm", "--args=lsm=yama"}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Disable(); err == nil || err.Error() != "the boot entries: lsm= is not "+list+",bpf any more, which 'ebpfguard enable' had set; change it by hand and remove /var/lib/ebpfguard/boot.json" {
		t.Errorf("disable after another change: %v", err)
	}
	f.write(recordFile, "{}")
	if _, err := f.Disable(); err == nil || !strings.HasPrefix(err.Error(), recordFile+" is damaged") {
		t.Errorf("a damaged record: %v", err)
	}
	// A grubby that does nothing is found out, and the record is taken back.
	f = newGrubby(t, "ro")
	does := f.programs["grubby"]
	f.programs["grubby"] = func(args []string) (string, error) {
		if args[0] == "--info=ALL" {
			return does(args)
		}
		return "", nil
	}
	plan, err := f.Enable()
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Apply(t.Output(), plan); err == nil || !strings.HasPrefix(err.Error(), "grubby --info=ALL does not show the change") || f.exists(recordFile) {
		t.Errorf("no effect: %v", err)
	}
}
