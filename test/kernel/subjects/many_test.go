//go:build vm

package subjects

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// TestManyBinaries names 60 programs, each with a file that it must not open: 30 interpreters and 30 scripts, so that a
// process is of two policies. The compiler makes classes of pairs, which once became too many at 45.
func TestManyBinaries(t *testing.T) {
	const half = 30
	g := guardtest.Shared(t)
	g.Divert(t) // the refusals are what counts here
	dir := t.TempDir()
	program := func(i int) string { return fmt.Sprintf("%s/program-%02d", dir, i) }
	secret := func(i int) string { return fmt.Sprintf("%s/secret-%02d", dir, i) }
	dash, err := os.ReadFile("/usr/bin/dash")
	guardtest.Check(t, err)
	var set []policy.Policy
	for i := range 2 * half {
		guardtest.WriteFile(t, secret(i), "")
		guardtest.Check(t, os.WriteFile(program(i), dash, 0o755))
		set = append(set, policy.Policy{Name: fmt.Sprintf("p%d", i), Subject: policy.Subject{Binaries: []string{program(i)}}, Rules: []policy.Rule{
			{Operation: policy.FileOpen, Deny: []policy.Pattern{policy.FilePattern{Paths: []string{secret(i)}}}},
		}})
	}
	g.Use(t, set...)
	// A failed redirection ends the shell unless `command` is before it.
	script := "for f in " + dir + "/secret-*; do\n  if command : <$f; then printf .; else printf r; fi\ndone 2>/dev/null\n"
	for i := range half {
		interpreter, file := (i+7)%half, half+i
		guardtest.Check(t, os.WriteFile(program(file), []byte("#!"+program(interpreter)+"\n"+script), 0o755))
		want := []byte(strings.Repeat(".", 2*half))
		want[interpreter], want[file] = 'r', 'r'
		got, err := exec.Command(program(file)).CombinedOutput()
		if err != nil || string(got) != string(want) {
			t.Errorf("script %d by interpreter %d: %v\n%s, want\n%s", i, interpreter, err, got, want)
		}
	}
}
