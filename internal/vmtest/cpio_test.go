package vmtest

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

type cpioEntry struct {
	name    string
	mode    uint64
	content string
}

// readCpio is an independent reading of the format, as strict as the kernel's.
func readCpio(t *testing.T, raw []byte) []cpioEntry {
	t.Helper()
	var entries []cpioEntry
	for len(raw) > 0 {
		if string(raw[:6]) != "070701" {
			t.Fatalf("bad magic %q after %d entries", raw[:6], len(entries))
		}
		field := func(i int) uint64 {
			n, err := strconv.ParseUint(string(raw[6+8*i:14+8*i]), 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		size, nameSize := int(field(6)), int(field(11))
		name := string(raw[110 : 110+nameSize-1])
		body := (110 + nameSize + 3) / 4 * 4
		entries = append(entries, cpioEntry{name, field(1), string(raw[body : body+size])})
		raw = raw[(body+size+3)/4*4:]
	}
	if n := len(entries); n == 0 || entries[n-1].name != "TRAILER!!!" {
		t.Fatal("no trailer")
	}
	return entries[:len(entries)-1]
}

func TestCpio(t *testing.T) {
	host := t.TempDir()
	if err := os.MkdirAll(filepath.Join(host, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(host, "sub", "f"), []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("f", filepath.Join(host, "sub", "link")); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	c := newCpio(&b)
	c.dir("/tmp", 0o777|os.ModeSticky)
	c.bytes("/bin/su", 0o755|os.ModeSetuid, "x")
	c.symlink("lib64/ld.so", "../lib/ld.so")
	if err := c.hostTree("/data", host); err != nil {
		t.Fatal(err)
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range readCpio(t, b.Bytes()) {
		got = append(got, fmt.Sprintf("%s %o %s", e.name, e.mode, e.content))
	}
	want := []string{
		"tmp 41777 ", "usr 40755 ", "usr/bin 40755 ", "usr/bin/su 104755 x", "usr/lib64 40755 ", "usr/lib64/ld.so 120777 ../lib/ld.so",
		"data 40755 ", "data/sub 40755 ", "data/sub/f 100600 12345", "data/sub/link 120777 f",
	}
	if !slices.Equal(got, want) {
		t.Errorf("entries:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestPackTar(t *testing.T) {
	var in, out bytes.Buffer
	w := tar.NewWriter(&in)
	for _, h := range []tar.Header{
		{Typeflag: tar.TypeDir, Name: "./bin/", Mode: 0o755},
		{Typeflag: tar.TypeReg, Name: "./bin/a", Mode: 0o755, Size: 2},
		{Typeflag: tar.TypeLink, Name: "./bin/b", Linkname: "./bin/a", Mode: 0o755},
		{Typeflag: tar.TypeReg, Name: "./usr/share/doc/a/README", Mode: 0o644},
		{Typeflag: tar.TypeSymlink, Name: "./bin/c", Linkname: "a"},
	} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			fmt.Fprint(w, "hi")
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	c := newCpio(&out)
	if err := packTar(c, tar.NewReader(&in)); err != nil {
		t.Fatal(err)
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range readCpio(t, out.Bytes()) {
		got = append(got, e.name+" "+e.content)
	}
	want := []string{"usr ", "usr/bin ", "usr/bin/a hi", "usr/bin/b hi", "usr/bin/c a"}
	if !slices.Equal(got, want) {
		t.Errorf("entries %q, want %q", got, want)
	}
}
