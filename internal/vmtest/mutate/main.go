// Command mutate removes one ingredient after the other of what the guard's caches are keyed by, and sees whether a
// kernel test fails then. One that none fails for is not held by any test.
//
//	go run ./internal/vmtest/mutate -kernel 6.12 [-run REGEXP]
package main

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// mutation is a change that makes an answer of one thing hold for another.
type mutation struct {
	// name says what is removed.
	name string
	// file is where texts are replaced, each of which is there once.
	file  string
	texts []string // what is replaced and by what, in turn
	// test is a regular expression, and packages where it is looked for.
	test, packages string
	// kernel is the one that does what is removed, where not all do.
	kernel string
}

func main() {
	kernel := flag.String("kernel", "6.12", "`name` of the kernel")
	only := flag.String("run", "", "try those only whose name matches `REGEXP`")
	flag.Parse()
	missed, err := try(*kernel, *only)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
	}
	if missed > 0 || err != nil {
		os.Exit(1)
	}
}

// try tries the mutations on a copy of the project, and returns for how many no test was seen to fail.
func try(kernel, only string) (missed int, err error) {
	wanted, err := regexp.Compile(only)
	if err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := copyTracked(dir); err != nil {
		return 0, err
	}
	for _, m := range mutations {
		if !wanted.MatchString(m.name) {
			continue
		}
		found, err := m.try(dir, cmp.Or(m.kernel, kernel))
		if err != nil { // the others may do
			fmt.Printf("%-60s NOT TRIED: %v\n", m.name, err)
			missed++
			continue
		}
		if !found {
			missed++
		}
		fmt.Printf("%-60s %s\n", m.name, map[bool]string{true: "a test fails", false: "NO TEST FAILS"}[found])
	}
	return missed, nil
}

// copyTracked copies what git knows of the working directory.
func copyTracked(dir string) error {
	list, err := exec.Command("git", "ls-files", "-z").Output()
	if err != nil {
		return fmt.Errorf("git ls-files: %w", err)
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(list), "\x00"), "\x00") {
		info, err := os.Lstat(name)
		if errors.Is(err, os.ErrNotExist) {
			continue // removed, and not committed yet
		}
		if err != nil {
			return err
		}
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if info.Mode()&os.ModeSymlink != 0 {
			target, err := os.Readlink(name)
			if err != nil {
				return err
			}
			if err := os.Symlink(target, to); err != nil {
				return err
			}
			continue
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(to, data, info.Mode().Perm()); err != nil {
			return err
		}
	}
	return nil
}

// try reports whether a test fails with the mutation.
func (m mutation) try(dir, kernel string) (found bool, err error) {
	file := filepath.Join(dir, m.file)
	before, err := os.ReadFile(file)
	if err != nil {
		return false, err
	}
	after := before
	for i := 0; i < len(m.texts); i += 2 {
		from, to := []byte(m.texts[i]), []byte(m.texts[i+1])
		if n := bytes.Count(after, from); n != 1 {
			return false, fmt.Errorf("%q is %d times in %s, and has to be there once", from, n, m.file)
		}
		after = bytes.Replace(after, from, to, 1)
	}
	if err := os.WriteFile(file, after, 0o644); err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, os.WriteFile(file, before, 0o644)) }()
	if out, err := in(dir, "go", "generate", "./internal/bpf").CombinedOutput(); err != nil {
		return false, fmt.Errorf("go generate: %w\n%s", err, out)
	}
	args := []string{"run", "./internal/vmtest/suite", "-tags", "vm", "-kernels", kernel, "-run", m.test, "-timeout", "10m"}
	out, err := in(dir, "go", append(args, strings.Fields(m.packages)...)...).CombinedOutput()
	if err == nil {
		return false, nil
	}
	if !bytes.Contains(out, []byte("--- FAIL: ")) || bytes.Contains(out, []byte("loading programs")) {
		return false, fmt.Errorf("the tests did not run: %w\n%s", err, out)
	}
	return true, nil
}

func in(dir, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	return cmd
}
