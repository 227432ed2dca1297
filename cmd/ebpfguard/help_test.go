package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// TestHelpFits wants the help of each command to fit a terminal of 80 columns.
func TestHelpFits(t *testing.T) {
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		var out bytes.Buffer
		if code := run(append(strings.Fields(cmd.CommandPath())[1:], "--help"), &out, &out); code != 0 {
			t.Errorf("%s: exit code %d", cmd.CommandPath(), code)
		}
		for line := range strings.SplitSeq(out.String(), "\n") {
			if n := utf8.RuneCountInString(line); n > 80 {
				t.Errorf("%s: %d columns: %s", cmd.CommandPath(), n, line)
			}
		}
		for _, c := range cmd.Commands() {
			visit(c)
		}
	}
	visit(newRootCommand())
	var out bytes.Buffer
	if code := execute(newPluginCommand(), []string{"alerts", "--help"}, &out, &out); code != 0 || !strings.Contains(out.String(), "  kubectl ebpfguard alerts [POD] [flags]\n") {
		t.Errorf("exit code %d: %s", code, out.String())
	}
}

// TestManFits wants what manual pages show as it is written to fit beside the margin of man.
func TestManFits(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(writeManPages(dir, newRootCommand()), writeManPages(dir, newPluginCommand()), writeFormatPages(dir)); err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(pages) < 15 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	plain := strings.NewReplacer(`\e`, `\`, `\-`, "-", `\(aq`, "'", `\(ga`, "`", `\(ha`, "^", `\(ti`, "~", `\&`, "", `\fB`, "", `\fI`, "", `\fR`, "")
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		filled := true
		for line := range strings.SplitSeq(string(text), "\n") {
			switch line {
			case ".nf":
				filled = false
			case ".fi":
				filled = true
			}
			if n := utf8.RuneCountInString(plain.Replace(line)); !filled && n > 73 {
				t.Errorf("%s: %d columns: %s", filepath.Base(page), n, plain.Replace(line))
			}
		}
	}
}
