package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ebpfguard/ebpfguard/internal/vmtest"
)

func TestSummary(t *testing.T) {
	good, bad := newResult("6.12"), newResult("5.10")
	var out bytes.Buffer
	cpu := time.Second
	none := func() time.Duration { cpu *= 2; return cpu }
	good.read(strings.NewReader(`{"Action":"run","Package":"m/p","Test":"TestA"}
{"Action":"output","Package":"m/p","Test":"TestA","Output":"hello\n"}
{"Action":"pass","Package":"m/p","Test":"TestA/sub","Elapsed":1}
{"Action":"pass","Package":"m/p","Test":"TestA","Elapsed":1.25}
{"Action":"skip","Package":"m/p","Test":"TestB"}
{"Action":"pass","Package":"m/p"}
{"Action":"skip","Package":"m/none"}
`), &out, none)
	if out.String() != "hello\n" {
		t.Fatalf("output %q", out.String())
	}
	bad.read(strings.NewReader(`plain error
{"Action":"run","Package":"m/p","Test":"TestA"}
{"Action":"output","Package":"m/p","Test":"TestA/sub","Output":"why\n"}
{"Action":"output","Package":"m/p","Test":"TestA/sub2","Output":"=== RUN   TestA/sub2\n"}
{"Action":"output","Package":"m/p","Test":"TestA/sub2","Output":"    --- PASS: TestA/sub2\n"}
{"Action":"fail","Package":"m/p"}
{"Action":"fail","Package":"m/q"}
{"Action":"output","Package":"m/r","Output":"FAIL: leaked\n"}
{"Action":"pass","Package":"m/r"}`), &out, none)
	bad.end("m/r", vmtest.Result{Exit: 1}, io.Discard)
	if !strings.Contains(out.String(), "plain error") {
		t.Fatalf("output %q", out.String())
	}
	good.elapsed = 3 * time.Second

	out.Reset()
	writeSummary(&out, []*result{good, bad}, 3*time.Second)
	var rows []string
	for line := range strings.Lines(out.String()) {
		rows = append(rows, strings.Join(strings.Fields(line), " "))
	}
	want := []string{
		"test 6.12 5.10", "TestA ok 1.2s FAIL", "TestB skip –", "(package q) – FAIL", "(package r) – FAIL",
		"passed 1 0", "failed 0 3", "skipped 1 0", "time 3s 0s", "cpu 0s 0s",
		"kernel 6.12: slowest by cpu: TestA 14s; packages:",
		"", "---- failed on kernel 5.10: TestA ----", "why",
		"", "---- failed on kernel 5.10: (package q) ----", "it printed nothing",
		"", "---- failed on kernel 5.10: (package r) ----", "FAIL: leaked", "the tests exited with 1",
		"FAIL: 1 passed, 3 failed, 1 skipped on 2 kernels in 3s",
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
	for name, c := range map[string]struct {
		results []*result
		want    bool
	}{
		"passed":       {[]*result{ran(passed)}, true},
		"only skipped": {[]*result{ran(skipped)}, true},
		"one failed":   {[]*result{ran(passed), ran(failed)}, false},
		"no test ran":  {[]*result{ran(passed), newResult("k")}, false},
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

func TestParse(t *testing.T) {
	o, err := parse([]string{"-kernels", "6.12", "-tags", "vm", "-modules", "sctp,smc?", "-add", "/h:/g", "-icount", "./x"})
	if err != nil {
		t.Fatal(err)
	}
	if o.kernels != "6.12" || o.tags != "vm" || len(o.packages) != 1 || len(o.add) != 1 ||
		len(o.guest.Modules) != 2 || !o.guest.ICount || !o.guest.Spare {
		t.Errorf("options %+v", o)
	}
	if o, err = parse([]string{"-smp", "2"}); err != nil || o.guest.Spare || o.guest.CPUs != 2 {
		t.Errorf("options %+v, %v", o, err)
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

// TestEnd finds out what a dying guest leaves: the test that ran has failed, and the console says why.
func TestEnd(t *testing.T) {
	r := newResult("6.12")
	var out bytes.Buffer
	r.read(strings.NewReader(`{"Action":"run","Package":"m/p","Test":"TestA"}
{"Action":"pass","Package":"m/p","Test":"TestA"}
{"Action":"run","Package":"m/p","Test":"TestB"}`), &out, func() time.Duration { return 0 })
	r.end("m/p", vmtest.Result{Exit: 1, Err: vmtest.ErrNoStatus, Console: []string{"Kernel panic"}}, &out)
	r.end("m/q", vmtest.Result{Exit: 2}, &out)
	r.end("m/r", vmtest.Result{}, &out)
	out.Reset()
	writeSummary(&out, []*result{r}, 0)
	for _, want := range []string{
		"---- failed on kernel 6.12: TestB ----\nconsole: Kernel panic\n" + vmtest.ErrNoStatus.Error(),
		"---- failed on kernel 6.12: (package q) ----", "FAIL: 1 passed, 2 failed, 0 skipped",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
}

func TestShare(t *testing.T) {
	var binaries []binary
	for _, name := range []string{"test/a", "cmd/b", "test/c", "internal/d"} {
		binaries = append(binaries, binary{importPath: module + "/" + name})
	}
	for guests, want := range map[int]string{1: "test/a,test/c,cmd/b,internal/d", 2: "test/a,test/c cmd/b,internal/d", 5: "test/a,test/c cmd/b internal/d"} {
		var got []string
		for _, share := range share(binaries, guests) {
			var names []string
			for _, b := range share {
				names = append(names, strings.TrimPrefix(b.importPath, module+"/"))
			}
			got = append(got, strings.Join(names, ","))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%d guests: %v, want %s", guests, got, want)
		}
	}
}

// TestTestedOn leaves out on a kernel between two others what -ends names, and on all but the usual one what -once names;
// nothing where the kernel cannot enforce, or when the tests are chosen by name or have to be thorough.
func TestTestedOn(t *testing.T) {
	binaries := []binary{{importPath: module + "/test/kernel/files"}, {importPath: module + "/cmd/ebpfguard/vm"}, {importPath: module + "/test/kernel/load"}}
	for _, tt := range []struct {
		kernel string
		args   []string
		want   int
	}{
		{"6.1", nil, 1}, {"6.18", nil, 1}, {"5.10", nil, 2}, {"6.12", nil, 2}, {"7", nil, 2}, {"6.12-nobpf", nil, 3}, {"6.12-arm64", nil, 3},
		{"6.1", []string{"-run", "TestDaemon"}, 3}, {"6.1", []string{"-test", "TestDaemon"}, 3}, {"6.1", []string{"-env", vmtest.FullEnv + "=1"}, 3},
	} {
		o, err := parse(append(tt.args, "-ends", "./cmd/ebpfguard/vm", "-once", "./test/kernel/load"))
		if err != nil {
			t.Fatal(err)
		}
		k, err := vmtest.ByName(tt.kernel)
		if err != nil {
			t.Fatal(err)
		}
		if got := o.testedOn(k, binaries); len(got) != tt.want {
			t.Errorf("%s, %q: %v, want %d", tt.kernel, tt.args, got, tt.want)
		}
	}
}

// TestPlan runs everything that a kernel has to run in one of its guests, what takes longest first.
func TestPlan(t *testing.T) {
	o, err := parse([]string{"-ends", "./cmd/ebpfguard/vm", "-once", "./test/kernel/load"})
	if err != nil {
		t.Fatal(err)
	}
	binaries := []binary{{importPath: module + "/test/kernel/files"}, {importPath: module + "/cmd/ebpfguard/vm"}, {importPath: module + "/test/kernel/load"}}
	kernels := vmtest.Of("amd64")
	var got []string
	for _, g := range o.plan(kernels, binaries, 2) {
		line := kernels[g.kernel].Name + ":"
		for _, b := range g.binaries {
			line += " " + strings.TrimPrefix(b.importPath, module+"/")
		}
		got = append(got, line)
	}
	const files, cmd, load = " test/kernel/files", " cmd/ebpfguard/vm", " test/kernel/load"
	want := []string{"7:" + files + cmd, "5.10:" + files + cmd, "6.12:" + load, "6.18:" + files, "6.12:" + files, "6.1:" + files, "6.12-nobpf:" + files + cmd + load}
	if !slices.Equal(got, want) {
		t.Errorf("guests\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
