package registry

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of docs/daemon.md")

// TestDocs expects that docs/daemon.md has every sink with its keys.
func TestDocs(t *testing.T) {
	const path, start, end = "../../docs/daemon.md", "<!-- sinks: go generate ./sink/registry writes this table -->\n", "<!-- end of sinks -->\n"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(data), start)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no place for the table of sinks", path)
	}
	var b strings.Builder
	b.WriteString("| type | where alerts go | key | what it is for |\n|---|---|---|---|\n")
	for _, kind := range Kinds {
		cells := fmt.Sprintf("| `%s` | %s ", kind.Name, kind.Usage)
		keys := kind.New().Keys()
		for _, key := range keys {
			fmt.Fprintf(&b, "%s| `%s` | %s |\n", cells, key.Name, key.Usage+values(key.Value.Type(), key.Value.String()))
			cells = "| | "
		}
		if len(keys) == 0 {
			b.WriteString(cells + "| | |\n")
		}
	}
	want := before + start + b.String() + end + after
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(data) != want {
		t.Errorf("the table of sinks in %s is not up to date; run go generate ./sink/registry", path)
	}
}
