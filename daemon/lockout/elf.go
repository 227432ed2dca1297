package lockout

import (
	"bufio"
	"debug/elf"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ebpfguard/ebpfguard/internal/hostroot"
)

// program is a file that can be started, and what starting it opens.
type program struct {
	// path is its name without symbolic links.
	path string
	// interpreters are opened by the kernel: the dynamic loader, the program that runs a script.
	interpreters []string
	// libraries are opened by the loader.
	libraries []string
}

// maxInterpreters is how many scripts may interpret each other (fs/exec.c).
const maxInterpreters = 5

// lookUp returns the program at a path; false if there is none.
func lookUp(root *hostroot.Root, path string) (program, bool) {
	real, err := root.EvalSymlinks(path)
	if err != nil {
		return program{}, false
	}
	if info, err := root.Stat(real); err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return program{}, false
	}
	p := program{path: real}
	at := real
	for range maxInterpreters {
		script := interpreterOf(root, at)
		if script == "" {
			break
		}
		real, err := root.EvalSymlinks(script)
		if err != nil {
			return p, true
		}
		p.interpreters = append(p.interpreters, real)
		at = real
	}
	loader, libraries := linked(root, at)
	if loader != "" {
		p.interpreters = append(p.interpreters, loader)
	}
	p.libraries = libraries
	return p, true
}

// interpreterOf returns what runs a script; empty for what is none.
func interpreterOf(root *hostroot.Root, path string) string {
	file, err := root.OpenRegular(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	line, _ := bufio.NewReader(io.LimitReader(file, 256)).ReadString('\n')
	if !strings.HasPrefix(line, "#!") {
		return ""
	}
	if words := strings.Fields(line[2:]); len(words) > 0 {
		return words[0]
	}
	return ""
}

// linked returns the dynamic loader of a program and its libraries with theirs, as far as they are
// in the usual places.
func linked(root *hostroot.Root, path string) (loader string, libraries []string) {
	seen := map[string]bool{}
	queue := []string{path}
	for len(queue) > 0 {
		opened, err := root.OpenRegular(queue[0])
		queue = queue[1:]
		if err != nil {
			continue
		}
		file, err := elf.NewFile(opened)
		if err != nil {
			_ = opened.Close()
			continue
		}
		if loader == "" {
			loader = loaderOf(root, file)
		}
		names, _ := file.ImportedLibraries()
		folders, _ := file.DynString(elf.DT_RUNPATH)
		_ = opened.Close()
		for _, name := range names {
			if seen[name] {
				continue
			}
			seen[name] = true
			if real := findLibrary(root, name, append(folders, libraryFolders(root, loader)...)); real != "" && real != loader {
				libraries = append(libraries, real)
				queue = append(queue, real)
			}
		}
	}
	slices.Sort(libraries)
	return loader, slices.Compact(libraries)
}

// loaderOf returns the interpreter that a program names, without symbolic links.
func loaderOf(root *hostroot.Root, file *elf.File) string {
	for _, segment := range file.Progs {
		if segment.Type != elf.PT_INTERP {
			continue
		}
		name, err := io.ReadAll(io.LimitReader(segment.Open(), 4096))
		if err != nil {
			return ""
		}
		real, err := root.EvalSymlinks(strings.TrimRight(string(name), "\x00"))
		if err != nil {
			return ""
		}
		return real
	}
	return ""
}

// libraryFolders returns where the loader looks: beside itself, and in the folders that ldconfig(8)
// has by default.
func libraryFolders(root *hostroot.Root, loader string) []string {
	folders := []string{"/lib64", "/usr/lib64", "/lib", "/usr/lib"}
	if loader != "" {
		folders = append([]string{filepath.Dir(loader)}, folders...)
	}
	triplets, _ := root.Glob("/usr/lib/*-linux-*")
	return append(folders, triplets...)
}

func findLibrary(root *hostroot.Root, name string, folders []string) string {
	for _, folder := range folders {
		if strings.Contains(folder, "$") { // $ORIGIN: of programs with folders of their own
			continue
		}
		if real, err := root.EvalSymlinks(filepath.Join(folder, name)); err == nil {
			return real
		}
	}
	return ""
}
