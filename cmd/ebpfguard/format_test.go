package main

import (
	"strings"
	"testing"
)

func TestHuman(t *testing.T) {
	for _, test := range []struct{ got, want string }{
		{number(uint64(0)), "0"}, {number(uint64(999)), "999"}, {number(uint64(1000)), "1,000"}, {number(uint64(12345678)), "12,345,678"},
		{rate(0), "0"}, {rate(0.04), "0.0"}, {rate(9.94), "9.9"}, {rate(9.96), "10"}, {rate(1234.6), "1,235"},
		{many(uint64(1), "hit", "hits"), "1 hit"}, {many(uint64(2000), "hit", "hits"), "2,000 hits"},
		{size(4096), "4 KiB"}, {size(43 << 20), "43.0 MiB"},
		{short(999_999), "999,999"}, {short(1_234_567), "1.2M"}, {short(5_000_000_000), "5.0G"},
		{truncate("abcdef", 6), "abcdef"}, {truncate("äbcdef", 5), "äbcd…"}, {truncate("abc", 0), ""},
		{printable("a\x1b[2Jb\nc\xffd é"), "a?[2Jb?c?d é"},
	} {
		if test.got != test.want {
			t.Errorf("got %q, want %q", test.got, test.want)
		}
	}
}

func TestTable(t *testing.T) {
	var b strings.Builder
	if err := table(&b, []int{1}, []string{"NAME", "HITS", "X"}, []string{"ä", "1,000", ""}, []string{"longer", "2", "y"}); err != nil {
		t.Fatal(err)
	}
	if want := "NAME     HITS  X\nä       1,000\nlonger      2  y\n"; b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestColourVerdict(t *testing.T) {
	for line, want := range map[string]string{
		"15:04 deny file_open x":  "15:04 \x1b[31mdeny\x1b[0m file_open x",
		"15:04 audit file_open x": "15:04 \x1b[33maudit\x1b[0m file_open x",
		"15:04 other file_open x": "15:04 other file_open x",
		"deny":                    "deny",
	} {
		if got := colourVerdict(line); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
