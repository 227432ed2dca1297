package chart

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// version is that of the chart.
const version = "0.4.0"

// TestGenerated asserts that what is made of other files is what is committed.
func TestGenerated(t *testing.T) {
	files, err := Generated(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 4 {
		t.Errorf("there are %d files", len(files))
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Error(err)
			continue
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what the chart makes; run `make chart` and commit it", name)
		}
		if left := regexp.MustCompile(`helm|\{\{ *[.$-]`).FindString(strings.TrimPrefix(string(got), header)); left != "" && strings.HasPrefix(name, "deploy/kubernetes/") {
			t.Errorf("%s has %q, which is Helm's", name, left)
		}
	}
}

// TestVersion asserts that the chart installs the next release.
func TestVersion(t *testing.T) {
	data, err := os.ReadFile(root + "/" + Folder + "/Chart.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var c struct{ Version, AppVersion string }
	if err := yaml.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	module, err := os.ReadFile(root + "/cmd/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	next := regexp.MustCompile(`github.com/ebpfguard/ebpfguard v(\S+)`).FindSubmatch(module)
	if next == nil || c.Version != string(next[1]) || c.AppVersion != c.Version || c.Version != version {
		t.Errorf("the chart is %s of %s, and the command requires %s of the library; correct Chart.yaml, and version here", c.Version, c.AppVersion, next)
	}
}
