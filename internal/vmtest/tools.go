package vmtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// toolsFormat changes whenever BuildTools makes something else of the same module.
const toolsFormat = "1"

// BuildTools builds the programs that the tool lines of a module name, statically, and returns the
// folder in the cache that has them. The module is none of go.work: its go.mod and go.sum alone say what is built,
// so what a program is built from does not change with what this repository requires. A line "// tags: a,b" in go.mod
// has build tags, a line "// ldflags: -X a=b" what the linker is told besides.
func BuildTools(ctx context.Context, module, arch string, warn func(string)) (string, error) {
	of := []string{toolsFormat, runtime.Version(), arch}
	for _, name := range []string{"go.mod", "go.sum"} {
		content, err := os.ReadFile(filepath.Join(module, name))
		if err != nil {
			return "", fmt.Errorf("build the programs of a module: %w; give the folder of the module", err)
		}
		of = append(of, string(content))
	}
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	// A lock of its own: others need not wait the minutes that this takes.
	cache = filepath.Join(cache, "tools")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("build the programs of %s: %w", module, err)
	}
	unlock, err := lock(cache)
	if err != nil {
		return "", err
	}
	defer unlock()
	path := filepath.Join(cache, digest(of))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	warn(fmt.Sprintf("building the programs of %s, which takes minutes; they are kept in the cache", module))
	return path, publish(path, func(tmp string) error {
		if err := os.MkdirAll(tmp, 0o755); err != nil {
			return err
		}
		env := []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + arch, "GOWORK=off", "GOFLAGS=-mod=readonly"}
		_, err := command(ctx, module, env, "go", "build", "-trimpath", "-buildvcs=false", "-tags="+setting(of[3], "tags"),
			"-ldflags=-s -w "+setting(of[3], "ldflags"), "-o", tmp+string(filepath.Separator), "tool")
		if err != nil {
			return fmt.Errorf("build the programs of %s: %w", module, err)
		}
		return nil
	})
}

// setting returns what a line of that name in a go.mod says.
func setting(goMod, name string) string {
	for line := range strings.Lines(goMod) {
		if value, ok := strings.CutPrefix(line, "// "+name+": "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
