// Command table makes docs/coverage.md of the results that the tests print in the guests, and compares:
//
//	go run ./internal/vmtest/suite -output all.log -tags vm -run TestCoverage .
//	go run ./test/coverage/table -write docs/coverage.md all.log
//	go run ./test/coverage/table -check docs/coverage.md all.log
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/test/coverage"
)

const usage = 2

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	f := flag.NewFlagSet("table", flag.ContinueOnError)
	f.SetOutput(stderr)
	write := f.String("write", "", "write the table to `FILE`")
	check := f.String("check", "", "fail when the results are worse than the table in `FILE`")
	partial := f.Bool("partial", false, "with -check: the results are of some kernels or rows only")
	f.Usage = func() {
		fmt.Fprintln(stderr, "usage: table [-write FILE] [-check FILE [-partial]] OUTPUT...")
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		return usage
	}
	if f.NArg() == 0 {
		f.Usage()
		return usage
	}
	fail := func(err error) int {
		fmt.Fprintln(stderr, "table:", err)
		return 1
	}
	var results []coverage.Result
	for _, name := range f.Args() {
		in, err := os.Open(name)
		if err != nil {
			return fail(err)
		}
		read, err := parseOutput(in)
		in.Close()
		if err != nil {
			return fail(fmt.Errorf("%s: %w", name, err))
		}
		results = append(results, read...)
	}
	t, err := newTable(results, vmtest.Names())
	if err != nil {
		return fail(err)
	}
	if *check != "" {
		raw, err := os.ReadFile(*check)
		if err != nil {
			return fail(err)
		}
		before, err := parseTable(string(raw))
		if err != nil {
			return fail(fmt.Errorf("%s: %w", *check, err))
		}
		worse, better := t.compare(before, *partial)
		for _, line := range better {
			fmt.Fprintln(stdout, "better:", line)
		}
		for _, line := range worse {
			fmt.Fprintln(stderr, "worse:", line)
		}
		if len(worse) > 0 {
			return fail(fmt.Errorf("%d cells are worse than in %s", len(worse), *check))
		}
		if len(better) > 0 {
			fmt.Fprintf(stdout, "%d cells are better than in %s: write it anew\n", len(better), *check)
		}
	}
	switch {
	case *write != "":
		if gaps := t.gaps(); len(gaps) > 0 {
			return fail(fmt.Errorf("not tried: %s; run all ways on all kernels", strings.Join(gaps, ", ")))
		}
		if err := os.WriteFile(*write, []byte(t.markdown()), 0o644); err != nil {
			return fail(err)
		}
	case *check == "":
		fmt.Fprint(stdout, t.markdown())
	}
	return 0
}
