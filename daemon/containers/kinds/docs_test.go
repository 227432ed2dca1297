package kinds

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of docs/daemon.md")

// TestDocs expects that docs/daemon.md has every kind of sources.
func TestDocs(t *testing.T) {
	const path, start, end = "../../../docs/daemon.md", "<!-- sources: go generate ./daemon/containers/kinds writes this table -->\n", "<!-- end of sources -->\n"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(data), start)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no place for the table of sources", path)
	}
	var b strings.Builder
	b.WriteString("| type | tells of | key | default |\n|---|---|---|---|\n")
	for _, k := range All {
		fmt.Fprintf(&b, "| `%s` | %s | `%s` | `%s` |\n", k.Name, k.Usage, k.Key, strings.Join(k.Places, "` or `"))
	}
	want := before + start + b.String() + end + after
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(data) != want {
		t.Errorf("the table of sources in %s is not up to date; run go generate ./daemon/containers/kinds", path)
	}
}

// TestKinds expects of each kind what the configuration and the runner rely on.
func TestKinds(t *testing.T) {
	names := map[string]bool{"hook": true} // those of the OCI hook come by the API
	for _, k := range All {
		if names[k.Name] || k.Name == "" || k.Usage == "" || len(k.Places) == 0 || k.Key != "socket" && k.Key != "directory" {
			t.Errorf("%+v", k)
		}
		names[k.Name] = true
		if s := k.New("/no/such/place", slog.New(slog.DiscardHandler)); s.Status().Connected {
			t.Errorf("%s: it is connected before it runs", k.Name)
		}
	}
}
