package policy

import (
	"strings"
	"testing"
)

func TestMountWithData(t *testing.T) {
	const options = MountReadOnly | MountNoSUID | MountNoDev | MountNoExec
	for _, c := range []struct {
		flags        MountFlags
		data         string
		want, either string
	}{
		{0, "", "rw, suid, dev, exec", ""},
		{0, "size=1m,mode=755", "rw, suid, dev, exec", ""},
		{options, "ro,noexec", "ro, nosuid, nodev, noexec", ""},
		{options, "rw", "nosuid, nodev, noexec", "ro, rw"},
		{options, "rw,ro", "nosuid, nodev, noexec", "ro, rw"},
		{options, "size=1m,,rw=no", "nosuid, nodev, noexec", "ro, rw"},
		{0, "ro", "suid, dev, exec", "ro, rw"},
		{options, "suid,dev,exec", "ro", "nosuid, suid, nodev, dev, noexec, exec"},
		{0, "sync,noatime", "rw, suid, dev, exec", "noatime, sync"},
		{options | MountSync | MountNoAtime, "sync,noatime", "ro, nosuid, nodev, noexec, noatime, sync", ""},
		{options | MountSync | MountNoAtime, "async,atime", "ro, nosuid, nodev, noexec", "noatime, sync"},
		{options, "errors=remount-rw,lowerdir=/rw:/dev,xrw,rwx,RW", "ro, nosuid, nodev, noexec", ""},
		{options, `upperdir=/a\,rw`, "nosuid, nodev, noexec", "ro, rw"},
		{options, "a\x00,rw", "ro, nosuid, nodev, noexec", ""},
		{options, "sep=;rw", "", optionFlags.String()},
		{options, "\x06", "", optionFlags.String()},
		{options, strings.Repeat("a", MaxMountData-3) + ",rw", "nosuid, nodev, noexec", "ro, rw"},
		{options, strings.Repeat("a", MaxMountData-2) + ",rw", "ro, nosuid, nodev, noexec", ""},
		{MountBind, "rw", "bind", ""},
		{MountBind | MountReadOnly, "rw", "bind, ro", ""}, // remount,bind
		{MountPrivate, "rw", "private", ""},
	} {
		m := Mount{Flags: c.flags}.WithData(c.data)
		if m.Flags.String() != c.want || m.Either.String() != c.either {
			t.Errorf("%v with data %.40q: %v, either %v; want %s, either %s", c.flags, c.data, m.Flags, m.Either, c.want, c.either)
		}
		if again := m.WithData(c.data); m.Either == 0 && again.Flags != m.Flags {
			t.Errorf("%v with data %.40q twice: %v", c.flags, c.data, again)
		}
	}
}

// TestMountChoices has rules of both kinds: a denial of what a mount may be, and an exception for it.
func TestMountChoices(t *testing.T) {
	readOnly := set(ruleOf("p", everybody, SbRemount, patterns{MountPattern{Flags: MountReadOnly}}, patterns{MountPattern{All: true}}))
	keep := set(ruleOf("p", everybody, SbRemount, nil, patterns{MountPattern{Targets: []string{"/usr/"}, Flags: MountReadWrite}}))
	both := set(ruleOf("p", everybody, SbRemount, patterns{MountPattern{Flags: MountReadOnly | MountReadWrite}}, patterns{MountPattern{All: true}}))
	synchronous := set(ruleOf("p", everybody, SbRemount, patterns{MountPattern{Flags: MountSync}}, patterns{MountPattern{All: true}}))
	for _, c := range []struct {
		set   []Policy
		flags MountFlags
		data  string
		want  string
	}{
		{keep, MountReadOnly, "", "allow"},
		{keep, MountReadOnly, "rw", "deny p"},
		{keep, MountReadOnly, "ro,rw,ro", "deny p"},
		{keep, 0, "", "deny p"},
		{keep, 0, "ro", "deny p"},
		{keep, MountReadOnly, "sep=:rw", "deny p"},
		{readOnly, MountReadOnly, "", "allow p"},
		{readOnly, MountReadOnly, "rw", "deny p"},
		{readOnly, 0, "ro", "deny p"},
		{both, MountReadOnly, "rw", "allow p"},
		{synchronous, MountSync, "", "allow p"},
		{synchronous, MountSync, "async", "deny p"},
		{synchronous, 0, "sync", "deny p"},
	} {
		m := Mount{Target: file("/usr"), Type: "ext4", Flags: c.flags}.WithData(c.data)
		if got := describe(c.set, Decide(c.set, Request{Process: nginx, Operation: SbRemount, Object: m})); got != c.want {
			t.Errorf("%v with %q: %s; want %s", c.flags, c.data, got, c.want)
		}
	}
}

// FuzzMountData compares what reads data here with what does so byte by byte, as the kernel programs
// (bpf/mount_data.h).
func FuzzMountData(f *testing.F) {
	for _, seed := range []string{"", "ro", "rw,size=1m", "sep=;rw", "nosuid=1,,noexec", "\x06\x00", "a=ro,b", "strictatime,atime", strings.Repeat("x,", 2047) + "ro"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data string) {
		got, want := optionsOfData(data), byteByByte(data)
		if got != want {
			t.Errorf("%q: %v; byte by byte %v", data, got, want)
		}
		m := Mount{Flags: MountNew}.WithData(data)
		if !m.valid() || m.Flags&m.Either != 0 {
			t.Errorf("%q: %v", data, m)
		}
		for _, pair := range mountOptions {
			if told := m.Flags | m.Either; told&(pair.with|pair.without)&AllMountFlags == 0 && pair.without < markAtime {
				t.Errorf("%q leaves neither %v nor %v", data, pair.with, pair.without)
			}
		}
	})
}

func byteByByte(data string) MountFlags {
	all, told, word, letters := MountFlags(0), MountFlags(0), "", 0
	words := map[string]MountFlags{}
	for _, o := range mountOptions {
		all |= o.with | o.without
		words[o.withWord], words[o.withoutWord] = o.with, o.without
	}
	if strings.HasPrefix(data, "sep=") {
		return all
	}
	const long = 8
	for i := range MaxMountData + 1 {
		b := byte(0)
		if i < min(len(data), MaxMountData) {
			b = data[i]
		}
		switch {
		case b == ',' || b == 0:
			if letters < long {
				told |= words[word]
			}
			word, letters = "", 0
			if b == 0 {
				return told
			}
			continue
		case b < ' ' || b == 0x7f:
			return all
		case b == '=':
			if letters < long {
				told |= words[word]
			}
			letters = long
		}
		if letters < long {
			word += string([]byte{b})
			letters++
		}
	}
	return all
}
