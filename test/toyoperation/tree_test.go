package toyoperation

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// tree is this tree with the toy, as the compilers see it.
type tree struct {
	// dir has what is generated and built.
	dir string
	// overlay has the files that are others, by their place in the tree.
	overlay map[string]string
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func testdata(t *testing.T, file string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// newTree adds the toy and generates what depends on it.
func newTree(t *testing.T) *tree {
	t.Helper()
	if _, err := exec.LookPath("clang"); err != nil {
		t.Skip("clang is missing, which make check and make test-toy install") // users of the library need none
	}
	tree := &tree{dir: t.TempDir(), overlay: map[string]string{}}
	for file, from := range added {
		tree.add(t, file, read(t, from))
	}
	for _, l := range lines {
		text := read(t, filepath.Join(root, l.file))
		if edited := tree.overlay[l.file]; edited != "" {
			text = read(t, edited)
		}
		at := regexp.MustCompile(l.list).FindStringSubmatchIndex(text)
		if at == nil {
			t.Fatalf("%s has no list for %q; mend the pattern of the test", l.file, l.line)
		}
		tree.add(t, l.file, text[:at[3]]+l.line+text[at[3]:])
	}
	tree.generate(t)
	return tree
}

func (tree *tree) add(t *testing.T, file, text string) {
	t.Helper()
	path := filepath.Join(tree.dir, "tree", file)
	write(t, path, text)
	tree.overlay[file] = path
}

// generate does what go generate does in internal/bpf, with a copy of the kernel programs.
func (tree *tree) generate(t *testing.T) {
	t.Helper()
	copied := filepath.Join(tree.dir, "tree/bpf")
	err := filepath.WalkDir(filepath.Join(root, "bpf"), func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		relative, err := filepath.Rel(root, path)
		if err == nil && tree.overlay[relative] == "" {
			write(t, filepath.Join(tree.dir, "tree", relative), read(t, path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	into := filepath.Join(tree.dir, "tree/internal/bpf")
	write(t, filepath.Join(tree.dir, "tree/internal/abi/layout.go"), "")
	write(t, filepath.Join(into, "guard_bpfel.go"), "")
	write(t, filepath.Join(into, "older_bpfel.go"), "")
	directives := regexp.MustCompile(`(?m)^//go:generate (.*)$`).FindAllStringSubmatch(read(t, filepath.Join(root, "internal/bpf/generate.go")), -1)
	if len(directives) != 5 {
		t.Fatalf("internal/bpf has %d directives, want two for each object and one for the layout", len(directives))
	}
	for _, d := range directives {
		command := strings.NewReplacer("../../bpf/", copied+"/", "guard_bpfel.o", into+"/guard_bpfel.o", "older_bpfel.o", into+"/older_bpfel.o",
			"../abi/layout.go", filepath.Join(tree.dir, "tree/internal/abi/layout.go"), "bpf2go ", "bpf2go -output-dir "+into+" ").Replace(d[1])
		cmd := exec.Command("sh", "-c", command)
		cmd.Dir = filepath.Join(root, "internal/bpf")
		cmd.Env = append(os.Environ(), "GOWORK=", "GOPACKAGE=bpf")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
	for _, file := range []string{"internal/abi/layout.go", "internal/bpf/guard_bpfel.go", "internal/bpf/guard_bpfel.o", "internal/bpf/older_bpfel.go", "internal/bpf/older_bpfel.o"} {
		tree.overlay[file] = filepath.Join(tree.dir, "tree", file)
	}
}

// build makes the test programs of packages.
func (tree *tree) build(t *testing.T, env []string, packages ...string) {
	t.Helper()
	replace := map[string]string{}
	for file, from := range tree.overlay {
		to, err := filepath.Abs(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		replace[to] = from
	}
	data, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(tree.dir, "overlay.json")
	write(t, list, string(data))
	for _, p := range packages {
		name := filepath.Base(p)
		switch p {
		case ".":
			name = "ebpfguard"
		case "./cmd/ebpfguard":
			name = "command"
		}
		cmd := exec.Command("go", "test", "-vet=off", "-overlay", list, "-c", "-o", filepath.Join(tree.dir, name+".test"), p)
		cmd.Dir, cmd.Env = root, append(append(os.Environ(), "GOWORK="), env...) // all modules of the tree
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", p, err, out)
		}
	}
}
