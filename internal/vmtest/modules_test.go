package vmtest

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
)

// fakeModule makes the smallest object file with a .modinfo section.
func fakeModule(t *testing.T, info string) []byte {
	t.Helper()
	names := "\x00.modinfo\x00.shstrtab\x00"
	const header, section = 64, 64
	infoAt := uint64(header)
	namesAt := infoAt + uint64(len(info))
	sectionsAt := namesAt + uint64(len(names))
	h := elf.Header64{
		Type: uint16(elf.ET_REL), Machine: uint16(elf.EM_X86_64), Version: 1,
		Shoff: sectionsAt, Ehsize: header, Shentsize: section, Shnum: 3, Shstrndx: 2,
	}
	copy(h.Ident[:], []byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1})
	var b bytes.Buffer
	for _, part := range []any{
		h, []byte(info), []byte(names), elf.Section64{},
		elf.Section64{Name: 1, Type: uint32(elf.SHT_PROGBITS), Off: infoAt, Size: uint64(len(info))},
		elf.Section64{Name: 10, Type: uint32(elf.SHT_STRTAB), Off: namesAt, Size: uint64(len(names))},
	} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func TestModuleOrder(t *testing.T) {
	depends := map[string]string{
		"sctp": "libcrc32c,ip6_udp_tunnel", "sctp_diag": "sctp,inet-diag", "inet_diag": "", "ip6_udp_tunnel": "ipv6", "loner": "",
	}
	set := &moduleSet{files: make(map[string]string), builtin: map[string]bool{"libcrc32c": true, "ipv6": true}}
	for name := range depends {
		set.files[name] = name
	}
	set.load = func(name string) ([]byte, error) {
		return fakeModule(t, "license=GPL\x00depends="+depends[name]+"\x00vermagic=6.1\x00"), nil
	}
	modules, err := set.order([]string{"sctp-diag", "sctp", "ipv6"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range modules {
		got = append(got, m.Name)
	}
	if want := []string{"ip6_udp_tunnel", "sctp", "inet_diag", "sctp_diag"}; !slices.Equal(got, want) {
		t.Errorf("order %q, want %q", got, want)
	}
	if _, err := set.order([]string{"nonesuch"}); err == nil || !strings.Contains(err.Error(), "nonesuch") {
		t.Errorf("unknown module: %v", err)
	}
}
