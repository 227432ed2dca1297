package main

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSummary(t *testing.T) {
	good, bad := newResult("6.12"), newResult("5.10")
	var out bytes.Buffer
	err := good.read(strings.NewReader(`{"Action":"run","Package":"m/p","Test":"TestA"}
{"Action":"output","Package":"m/p","Test":"TestA","Output":"hello\n"}
{"Action":"pass","Package":"m/p","Test":"TestA/sub","Elapsed":1}
{"Action":"pass","Package":"m/p","Test":"TestA","Elapsed":1.25}
{"Action":"skip","Package":"m/p","Test":"TestB"}
{"Action":"pass","Package":"m/p"}
{"Action":"skip","Package":"m/none"}
`), &out)
	if err != nil || out.String() != "hello\n" {
		t.Fatalf("output %q, %v", out.String(), err)
	}
	err = bad.read(strings.NewReader(`plain error
{"Action":"run","Package":"m/p","Test":"TestA"}
{"Action":"output","Package":"m/p","Test":"TestA/sub","Output":"why\n"}
{"Action":"output","Package":"m/p","Test":"TestA/sub2","Output":"=== RUN   TestA/sub2\n"}
{"Action":"output","Package":"m/p","Test":"TestA/sub2","Output":"    --- PASS: TestA/sub2\n"}
{"Action":"fail","Package":"m/p"}
{"Action":"fail","Package":"m/q"}`), &out)
	if err != nil || !strings.Contains(out.String(), "plain error") {
		t.Fatalf("output %q, %v", out.String(), err)
	}
	bad.err = errors.New("exit status 1")
	good.elapsed = 3 * time.Second

	out.Reset()
	writeSummary(&out, []*result{good, bad}, 3*time.Second)
	var rows []string
	for line := range strings.Lines(out.String()) {
		rows = append(rows, strings.Join(strings.Fields(line), " "))
	}
	want := []string{
		"test 6.12 5.10", "TestA ok 1.2s FAIL", "TestB skip –", "(package q) – FAIL",
		"passed 1 0", "failed 0 2", "skipped 1 0", "time 3s 0s",
		"", "---- failed on kernel 5.10: TestA ----", "why",
		"", "---- failed on kernel 5.10: (package q) ----", "it printed nothing",
		"FAIL: 1 passed, 2 failed, 1 skipped on 2 kernels in 3s",
	}
	if got := strings.Join(rows, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("summary:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
	}
}

func TestTail(t *testing.T) {
	var last tail
	for i := range tailLines + 2 {
		last.add(fmt.Sprint(i))
	}
	if last.left != 2 || len(last.lines) != tailLines || last.lines[0] != "2" {
		t.Errorf("%d lines left out, %d kept from %q", last.left, len(last.lines), last.lines[0])
	}
}

func TestSucceeded(t *testing.T) {
	ran := func(o outcome) *result {
		r := newResult("k")
		r.set(id{"p", "T"}, entry{outcome: o})
		return r
	}
	broken := ran(passed)
	broken.err = errors.New("exit status 1")
	for name, c := range map[string]struct {
		results []*result
		want    bool
	}{
		"passed":       {[]*result{ran(passed)}, true},
		"only skipped": {[]*result{ran(skipped)}, true},
		"one failed":   {[]*result{ran(passed), ran(failed)}, false},
		"no test ran":  {[]*result{ran(passed), newResult("k")}, false},
		"go test died": {[]*result{broken}, false},
		"no kernel":    {nil, false},
	} {
		if got := succeeded(c.results); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestLabel(t *testing.T) {
	rows := []id{{"m/a", "TestX"}, {"m/b", "TestX"}, {"m/b", "TestY"}}
	for i, want := range []string{"a.TestX", "b.TestX", "TestY"} {
		if got := label(rows[i], rows); got != want {
			t.Errorf("label %v = %q, want %q", rows[i], got, want)
		}
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{"a=b": "a=b", "a b": "'a b'", "it's": `"it's"`} {
		if got, err := quote(in); err != nil || got != want {
			t.Errorf("quote(%q) = %q, %v", in, got, err)
		}
	}
	if _, err := quote(`it's "x"`); err == nil {
		t.Error("both kinds of quotes were accepted")
	}
}

func TestParse(t *testing.T) {
	o, err := parse([]string{"-kernels", "6.12", "-tags", "vm", "-modules", "sctp", "-add", "/h:/g", "-icount", "./x"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(o.vmrun, " "), "-modules sctp -add /h:/g -icount"; got != want {
		t.Errorf("flags for vmrun %q, want %q", got, want)
	}
	if o.kernels != "6.12" || o.tags != "vm" || len(o.packages) != 1 {
		t.Errorf("options %+v", o)
	}
}

func TestWithTests(t *testing.T) {
	packages := []pkg{{ImportPath: "m/a", tests: []string{"TestBind", "TestBindAgain"}}, {ImportPath: "m/b", tests: []string{"TestOpen"}}}
	for run, want := range map[string]string{
		"Bind": "m/a", "Test": "m/a m/b", exactly("TestOpen/to read"): "m/b", exactly("TestBind"): "m/a", "": "m/a m/b",
	} {
		found, err := withTests(packages, run)
		var names []string
		for _, p := range found {
			names = append(names, p.ImportPath)
		}
		if got := strings.Join(names, " "); err != nil || got != want {
			t.Errorf("-run %s: packages %q, %v; want %q", run, got, err, want)
		}
	}
	if _, err := withTests(packages, exactly("TestBin")); err == nil || !strings.Contains(err.Error(), "TestBind, TestBindAgain, TestOpen") {
		t.Errorf("a test that there is not: %v", err)
	}
}

func TestFindPackages(t *testing.T) {
	for tags, want := range map[string][]bool{"vm": {true, false}, "": {false, true}} {
		packages, err := findPackages(t.Context(), tags, []string{"github.com/ebpfguard/ebpfguard/internal/vmtest"})
		if err != nil || len(packages) != 1 {
			t.Fatalf("%+v, %v", packages, err)
		}
		for i, test := range []string{"TestGuestLSM", "TestMachineArgs"} {
			if slices.Contains(packages[0].tests, test) != want[i] {
				t.Errorf("tags %q: %v", tags, packages[0].tests)
			}
		}
	}
}
