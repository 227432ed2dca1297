// Package modules has a test that takes this repository's modules as a user gets them.
package modules

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

const (
	library = "github.com/ebpfguard/ebpfguard"
	ebpf    = "github.com/cilium/ebpf"
	// mostDirect is how many modules the library may require directly, those of its tests included.
	mostDirect = 5
)

// program is what a user writes first.
const program = `package main

import (
	"fmt"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
)

func main() {
	set, err := policy.Parse("a.yaml", []byte("apiVersion: ebpfguard.io/v1alpha1\nkind: Policy\nmetadata: {name: first}\n"+
		"spec: {subject: {}, rules: [{operation: socket_bind, deny: {ports: [22]}}]}"))
	fmt.Println(len(set), set[0].Name, err, ebpfguard.ErrNotSupported != nil)
}
`

// TestUser publishes the modules to a proxy in a folder, in the version that they require of each other, and uses
// them from a module without anything: the library in a program, and the command by go install.
func TestUser(t *testing.T) {
	root := run(t, "", nil, "git", "rev-parse", "--show-toplevel")
	version := required(t, filepath.Join(root, "cmd", "go.mod"), library)
	published := t.TempDir()
	for _, folder := range []string{".", "api", "api/kubernetes", "daemon", "cmd"} {
		publish(t, published, root, folder, version)
	}

	work := t.TempDir()
	// The machine's module cache must not learn of a version that was never published.
	env := append(os.Environ(), "GOWORK=off", "GOSUMDB=off", "CGO_ENABLED=0", "GOFLAGS=-mod=mod -modcacherw -trimpath",
		"GOMODCACHE="+filepath.Join(work, "cache"), "GOBIN="+filepath.Join(work, "bin"), "GOPROXY="+strings.Join([]string{
			"file://" + published,
			"file://" + filepath.Join(run(t, root, nil, "go", "env", "GOMODCACHE"), "cache", "download"),
			run(t, root, nil, "go", "env", "GOPROXY"),
		}, ","))
	user := filepath.Join(work, "user")
	write(t, filepath.Join(user, "go.mod"), "module user.test\n\ngo 1.26.0\n")
	write(t, filepath.Join(user, "main.go"), program)

	run(t, user, env, "go", "get", library+"@"+version)
	if got, want := run(t, user, env, "go", "run", "."), "1 first <nil> true"; got != want {
		t.Errorf("the program prints %q, want %q", got, want)
	}
	// What a user of cilium/ebpf has anyway is not ours to spare.
	other := filepath.Join(work, "other")
	write(t, filepath.Join(other, "go.mod"), "module other.test\n\ngo 1.26.0\n")
	write(t, filepath.Join(other, "main.go"), "package main\n\nimport _ \""+ebpf+"\"\n\nfunc main() {}\n")
	run(t, other, env, "go", "get", ebpf+"@"+required(t, filepath.Join(root, "go.mod"), ebpf))
	without, with := modules(t, other, env), modules(t, user, env)
	t.Logf("%d modules with cilium/ebpf alone, %d with the library", len(without), len(with))
	more := slices.DeleteFunc(with, func(name string) bool { return slices.Contains(without, name) })
	if want := []string{library, "go.yaml.in/yaml/v3"}; !slices.Equal(more, want) {
		t.Errorf("a user of the library has the modules %v more than one of cilium/ebpf, want %v", more, want)
	}

	run(t, user, env, "go", "install", library+"/cmd/ebpfguard@"+version)
	out := run(t, user, nil, filepath.Join(work, "bin", "ebpfguard"), "--version")
	if want := "ebpfguard " + version + ","; !strings.HasPrefix(out, want) {
		t.Errorf("the command prints %q, want %q", out, want)
	}
}

// TestRequirements holds what would break a user's build or burden it.
func TestRequirements(t *testing.T) {
	root := run(t, "", nil, "git", "rev-parse", "--show-toplevel")
	version := required(t, filepath.Join(root, "cmd", "go.mod"), library)
	for _, folder := range []string{".", "api", "api/kubernetes", "daemon", "cmd", "internal/tools"} {
		file := parse(t, filepath.Join(root, folder, "go.mod"))
		if len(file.Replace) > 0 {
			t.Errorf("%s/go.mod has a replace line, with which go install refuses the module", folder)
		}
		direct := 0
		for _, r := range file.Require {
			if !r.Indirect {
				direct++
			}
			if strings.HasPrefix(r.Mod.Path, library) && r.Mod.Version != version {
				t.Errorf("%s/go.mod requires %s, others %s", folder, r.Mod, version)
			}
		}
		if folder == "." && (direct > mostDirect || len(file.Tool) > 0) {
			t.Errorf("the library requires %d modules directly and has %d tools, want at most %d and none", direct, len(file.Tool), mostDirect)
		}
	}
	command, err := os.ReadFile(filepath.Join(root, "cmd", "ebpfguard", "main.go"))
	if err != nil || !strings.Contains(string(command), `"`+version+`-dev"`) {
		t.Errorf("cmd/ebpfguard/main.go names another version than %s for what is built from a checkout", version)
	}
	work, err := os.ReadFile(filepath.Join(root, "go.work"))
	if err != nil {
		t.Fatal(err)
	}
	file, err := modfile.ParseWork("go.work", work, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range file.Replace {
		if r.Old.Version != version {
			t.Errorf("go.work replaces %s, want %s", r.Old, version)
		}
	}
}

// publish writes a module as a proxy has it, with the files of the checkout that git knows or would add.
func publish(t *testing.T, to, root, folder, version string) {
	t.Helper()
	m := module.Version{Path: parse(t, filepath.Join(root, folder, "go.mod")).Module.Mod.Path, Version: version}
	var files []zip.File
	for name := range strings.SplitSeq(run(t, filepath.Join(root, folder), nil, "git", "ls-files", "-co", "--exclude-standard"), "\n") {
		if info, err := os.Lstat(filepath.Join(root, folder, name)); err == nil && info.Mode().IsRegular() {
			files = append(files, file{name, filepath.Join(root, folder, name)})
		}
	}
	path := filepath.Join(to, filepath.FromSlash(m.Path), "@v")
	goMod, err := os.ReadFile(filepath.Join(root, folder, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	info, err := json.Marshal(struct {
		Version string
		Time    time.Time
	}{version, time.Unix(1_700_000_000, 0).UTC()})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(path, version+".mod"), string(goMod))
	write(t, filepath.Join(path, version+".info"), string(info))
	write(t, filepath.Join(path, "list"), version+"\n")
	f, err := os.Create(filepath.Join(path, version+".zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := zip.Create(f, m, files); err != nil {
		t.Fatalf("make the zip of %s: %v", m.Path, err)
	}
}

// file is a file of a module.
type file struct{ name, path string }

func (f file) Path() string                 { return f.name }
func (f file) Lstat() (os.FileInfo, error)  { return os.Lstat(f.path) }
func (f file) Open() (io.ReadCloser, error) { return os.Open(f.path) }

// modules returns the names of all modules that a module's go command knows, without its own.
func modules(t *testing.T, dir string, env []string) []string {
	t.Helper()
	run(t, dir, env, "go", "mod", "tidy")
	return strings.Split(run(t, dir, env, "go", "list", "-m", "-f", "{{if not .Main}}{{.Path}}{{end}}", "all"), "\n")
}

// required returns the version in which a go.mod requires a module.
func required(t *testing.T, path, name string) string {
	t.Helper()
	for _, r := range parse(t, path).Require {
		if r.Mod.Path == name {
			return r.Mod.Version
		}
	}
	t.Fatalf("%s does not require %s", path, name)
	return ""
}

func parse(t *testing.T, path string) *modfile.File {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file, err := modfile.Parse(path, raw, nil)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// run returns what a command prints, without the last end of line.
func run(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, env
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(fmt.Errorf("%s: %w\n%s%s", strings.Join(cmd.Args, " "), err, out, stderr.String()))
	}
	return strings.TrimSuffix(string(out), "\n")
}
