package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

const module = "github.com/ebpfguard/ebpfguard"

// binary is a test binary.
type binary struct {
	// importPath names it in the results, dir is its folder on this machine, path where it lies.
	importPath, dir, path string
}

// buildAll builds each package's test binary once for all kernels.
func buildAll(ctx context.Context, o options, out string, packages []pkg) ([]binary, error) {
	var binaries []binary
	// The go command names a binary after the last part of the path, and builds several at once if the names differ.
	rounds := make(map[int][]string)
	names := make(map[string]int)
	for _, p := range packages {
		if len(p.tests) == 0 {
			continue
		}
		name := path.Base(p.ImportPath)
		round := names[name]
		names[name]++
		rounds[round] = append(rounds[round], p.ImportPath)
		binaries = append(binaries, binary{importPath: p.ImportPath, dir: p.Dir, path: filepath.Join(out, fmt.Sprint(round), name+".test")})
	}
	for _, round := range slices.Sorted(maps.Keys(rounds)) {
		args := []string{"test", "-c", "-ldflags=-s -w", "-o", filepath.Join(out, fmt.Sprint(round)) + "/"}
		if o.tags != "" {
			args = append(args, "-tags", o.tags)
		}
		cmd := exec.CommandContext(ctx, "go", append(args, rounds[round]...)...)
		// Tests run in a guest without a C library.
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+o.arch)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			return nil, fmt.Errorf("build the tests: %w", err)
		}
	}
	// In the guest their names have to differ, too.
	for i, b := range binaries {
		unique := filepath.Join(out, strings.ReplaceAll(strings.TrimPrefix(b.importPath, module+"/"), "/", "-")+".test")
		if err := os.Rename(b.path, unique); err != nil {
			return nil, err
		}
		binaries[i].path = unique
	}
	return binaries, nil
}
