// Package toysink proves that a new sink of alerts is its own folder and one entry of the
// registry, as docs/architecture.md says.
package toysink

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// listed returns the files that docs/architecture.md lists for a new sink.
func listed(t *testing.T) []string {
	t.Helper()
	_, section, _ := strings.Cut(read(t, filepath.Join(root, "docs/architecture.md")), "## Adding a sink of alerts\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var files []string
	for _, m := range regexp.MustCompile("(?m)^[0-9]+\\. `([^`]+)`").FindAllStringSubmatch(section, -1) {
		files = append(files, strings.ReplaceAll(m[1], "<name>", "toy"))
	}
	return files
}

// TestToySink adds the files of the list, and nothing else, to what the compiler sees of
// this tree. Then the sink must get alerts through the daemon's configuration and through
// run: the probes are tests in the packages that have a guard without a kernel.
func TestToySink(t *testing.T) {
	dir := t.TempDir()
	entry := regexp.MustCompile(`(?m)^(\t)(\w+)\.Kind,\n}`)
	registry := read(t, filepath.Join(root, "sink/registry/registry.go"))
	changed := strings.Replace(entry.ReplaceAllString(registry, "$1$2.Kind,\n\ttoy.Kind,\n}"),
		"import (\n", "import (\n\t\"github.com/ebpfguard/ebpfguard/sink/toy\"\n", 1)
	if strings.Count(changed, "\n") != strings.Count(registry, "\n")+2 {
		t.Fatalf("an import and an entry are not all that changes in the registry:\n%s", changed)
	}
	edited := filepath.Join(dir, "registry.go")
	if err := os.WriteFile(edited, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	sink := map[string]string{
		"sink/toy/toy.go":           "testdata/sink/toy/toy.go",
		"sink/toy/toy_test.go":      "testdata/sink/toy/toy_test.go",
		"sink/registry/registry.go": edited,
	}
	files := listed(t)
	if len(files) != len(sink) {
		t.Errorf("docs/architecture.md lists %d files, the toy needs %d", len(files), len(sink))
	}
	for file := range sink {
		if !slices.Contains(files, file) {
			t.Errorf("docs/architecture.md does not list %s", file)
		}
	}
	overlay := map[string]string{}
	add := func(file, from string) {
		to, err1 := filepath.Abs(filepath.Join(root, file))
		source, err2 := filepath.Abs(from)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		overlay[to] = source
	}
	for file, from := range sink {
		add(file, from)
	}
	add("daemon/toysink_test.go", "testdata/probes/daemon_test.go")
	add("cmd/ebpfguard/toysink_test.go", "testdata/probes/run_test.go")
	data, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, data, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "test", "-vet=off", "-overlay", list, "-c", "-o", dir, "./sink/toy", "./daemon", "./cmd/ebpfguard")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "GOWORK=") // all modules of the tree
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for program, test := range map[string]string{"toy": "TestWrite", "daemon": "TestToySink", "ebpfguard": "TestToySink"} {
		out, err := exec.Command(filepath.Join(dir, program+".test"), "-test.v", "-test.run", "^"+test+"$").CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: "+test) {
			t.Errorf("%s: %v\n%s", program, err, out)
		}
	}
}
