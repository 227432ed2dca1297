package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	fragment = regexp.MustCompile("`[^`\n]+`|(?m)^(?:    |\\$ ).*$")
	called   = regexp.MustCompile(`(?:^|[ /])(kubectl )?ebpfguard ([a-z][^|;#]*)`)
)

// TestPages looks for the commands and flags that README.md and docs/ name.
func TestPages(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, page := range append(pages, "../../README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, code := range fragment.FindAllString(string(text), -1) {
			code = strings.TrimSpace(strings.Trim(code, "`"))
			if others := strings.HasPrefix(code, "helm ") || strings.HasPrefix(code, "kubectl ") && !strings.HasPrefix(code, "kubectl ebpfguard "); others {
				_, code, _ = strings.Cut(code, " -- ") // before that it is the name of a namespace or a release
			}
			for _, call := range called.FindAllStringSubmatch(code, -1) {
				words := strings.Fields(strings.NewReplacer("'", "", "`", "", "<(", "", ")", "").Replace(call[2]))
				root := newRootCommand()
				if call[1] != "" {
					root = newPluginCommand()
				}
				cmd, _, err := root.Find(words)
				if err != nil || !cmd.HasParent() {
					t.Errorf("%s: %s: there is no such command", page, code)
					continue
				}
				found++
				for _, word := range words {
					if word == "--" {
						break // what follows is another program's
					}
					name, _, _ := strings.Cut(strings.TrimPrefix(word, "--"), "=")
					cmd.InitDefaultHelpFlag()
					if strings.HasPrefix(word, "--") && cmd.Flag(name) == nil {
						t.Errorf("%s: %s: %s has no flag --%s", page, code, cmd.CommandPath(), name)
					}
				}
			}
		}
	}
	if found < 50 {
		t.Errorf("found %d commands only", found)
	}
}
