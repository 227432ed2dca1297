package vmtest

import (
	"bytes"
	"context"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// moduleSet knows a kernel's modules. Debian's packages come without modules.dep, which their installation makes, so
// the dependencies are read from the modules themselves.
type moduleSet struct {
	files   map[string]string
	builtin map[string]bool
	load    func(file string) ([]byte, error)
}

// module is one to be loaded, decompressed.
type module struct {
	Name  string
	Image []byte
}

func openModules(ctx context.Context, dir string) (*moduleSet, error) {
	set := &moduleSet{
		files:   make(map[string]string),
		builtin: make(map[string]bool),
		load:    func(file string) ([]byte, error) { return decompress(ctx, file) },
	}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if base, _, ok := strings.Cut(filepath.Base(p), ".ko"); ok && err == nil && !d.IsDir() {
			set.files[moduleName(base)] = p
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the kernel's modules: %w", err)
	}
	builtin, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if err != nil {
		return nil, fmt.Errorf("list the kernel's built-in modules: %w", err)
	}
	for line := range strings.Lines(string(builtin)) {
		set.builtin[moduleName(strings.TrimSuffix(filepath.Base(strings.TrimSpace(line)), ".ko"))] = true
	}
	return set, nil
}

// order returns the named modules and those they need, each after its own needs. A name that ends with '?' is left out
// where the kernel's package has no such module.
func (s *moduleSet) order(names []string) ([]module, error) {
	var ordered []module
	done := make(map[string]bool)
	var visit func(name string) error
	visit = func(name string) error {
		name = moduleName(name)
		if done[name] || s.builtin[name] {
			return nil
		}
		done[name] = true
		file, ok := s.files[name]
		if !ok {
			return fmt.Errorf("find module %s: the kernel's package has none of that name; leave it out of -modules for this kernel, or write %s? to load it where there is one", name, name)
		}
		image, err := s.load(file)
		if err != nil {
			return fmt.Errorf("read module %s: %w", name, err)
		}
		needs, err := moduleNeeds(image)
		if err != nil {
			return fmt.Errorf("read module %s: %w", name, err)
		}
		for _, need := range needs {
			if err := visit(need); err != nil {
				return err
			}
		}
		ordered = append(ordered, module{Name: name, Image: image})
		return nil
	}
	for _, name := range names {
		name, optional := strings.CutSuffix(name, "?")
		if _, ok := s.files[moduleName(name)]; optional && !ok {
			continue
		}
		if err := visit(name); err != nil {
			return nil, err
		}
	}
	return ordered, nil
}

// moduleName treats a hyphen as an underscore, as modprobe does.
func moduleName(s string) string { return strings.ReplaceAll(s, "-", "_") }

// moduleNeeds reads "depends=a,b" from the .modinfo section.
func moduleNeeds(image []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return nil, err
	}
	section := f.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("no .modinfo section")
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	return parseModinfo(string(info)), nil
}

func parseModinfo(info string) []string {
	for field := range strings.SplitSeq(info, "\x00") {
		if list, ok := strings.CutPrefix(field, "depends="); ok && list != "" {
			return strings.Split(list, ",")
		}
	}
	return nil
}

func decompress(ctx context.Context, file string) ([]byte, error) {
	var name string
	switch filepath.Ext(file) {
	case ".xz":
		name = "xz"
	case ".zst":
		name = "zstd"
	case ".gz":
		name = "gzip"
	default:
		return os.ReadFile(file)
	}
	path, err := tool(name)
	if err != nil {
		return nil, err
	}
	out, err := exec.CommandContext(ctx, path, "-dc", file).Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return out, nil
}
