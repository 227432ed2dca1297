package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const module = "github.com/ebpfguard/ebpfguard"

// binary is a test binary.
type binary struct {
	// importPath names it in the results, dir is its folder on this machine, path where it lies.
	importPath, dir, path string
	// tests are the names of its tests that need a guest.
	tests []string
}

// buildAll builds each package's test binary once for all kernels.
func buildAll(ctx context.Context, o options, arch, out string, packages []pkg) ([]binary, error) {
	var binaries []binary
	for _, p := range packages {
		if len(p.tests) == 0 {
			continue
		}
		b := binary{importPath: p.ImportPath, dir: p.Dir, tests: p.tests}
		b.path = filepath.Join(out, strings.ReplaceAll(strings.TrimPrefix(b.importPath, module+"/"), "/", "-")+".test")
		args := []string{"test", "-c", "-o", b.path, "-ldflags=-s -w"}
		if o.tags != "" {
			args = append(args, "-tags", o.tags)
		}
		cmd := exec.CommandContext(ctx, "go", append(args, b.importPath)...)
		// Tests run in a guest without a C library.
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+arch)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			return nil, fmt.Errorf("build the tests of %s: %w", b.importPath, err)
		}
		binaries = append(binaries, b)
	}
	return binaries, nil
}
