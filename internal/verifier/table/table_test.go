package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ebpfguard/ebpfguard/internal/verifier"
)

func TestRenew(t *testing.T) {
	dir := t.TempDir()
	file, table, output := filepath.Join(dir, "testdata", "verifier.json"), filepath.Join(dir, "verifier.md"), filepath.Join(dir, "log")
	log := func(results ...verifier.Result) {
		t.Helper()
		b := bytes.NewBufferString("=== RUN   TestVerifier\n")
		for _, r := range results {
			b.WriteString("    ")
			if err := r.Print(b); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(output, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	renew := func() string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		if code := run([]string{"-write", file, "-table", table, output}, &stdout, &stderr); code != 0 {
			return stderr.String()
		}
		return ""
	}
	of := func(kernel, program string, f verifier.Figures) verifier.Result {
		return verifier.Result{Kernel: kernel, Program: program, Figures: f}
	}
	end := func(kernel string, programs int) verifier.Result {
		return verifier.Result{Kernel: kernel, Programs: programs}
	}
	log()
	if got := renew(); !strings.Contains(got, "no figures") {
		t.Errorf("output without figures: %q", got)
	}
	open, bind := verifier.Figures{Processed: 50_000, PeakStates: 90, Stack: 480, Instructions: 70, MachineCode: 400, LoadMS: 800}, verifier.Figures{Processed: 7}
	all := []verifier.Result{of("5.10", "file_open", open), of("5.10", "socket_bind", bind), end("5.10", 2), of("6.12", "file_open", open)}
	log(all...)
	if got := renew(); !strings.Contains(got, "figures of 1 programs on kernel 6.12") {
		t.Errorf("output of a test that did not end: %q", got)
	}
	log(append(all, end("6.12", 1))...)
	if got := renew(); got != "" {
		t.Fatal(got)
	}
	// Another run, of one kernel, where a program is gone.
	open.Processed = 60_000
	log(of("5.10", "file_open", open), end("5.10", 1))
	if got := renew(); got != "" {
		t.Fatal(got)
	}
	figures, err := verifier.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(figures) != 2 || len(figures["5.10"]) != 1 || figures["5.10"]["file_open"] != open || figures["6.12"]["file_open"].Processed != 50_000 {
		t.Errorf("figures %+v", figures)
	}
	text, err := os.ReadFile(table)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| program | 5.10 | 6.12 |", "| file_open | 60000 / 90 | 50000 / 90 |", "| file_open | 480 | 480 |", "| file_open | 70 / 400 |", "| all | 800 | 800 |"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the table lacks %q:\n%s", want, text)
		}
	}
}
