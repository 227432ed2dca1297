package policy

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ebpfguard/ebpfguard/internal/regular"
)

// maxFile bounds the size of a policy file in bytes.
const maxFile = 64 << 20

// extensions end the names of policy files. JSON is YAML.
var extensions = []string{".yaml", ".yml", ".json"}

// Load reads the policies of files and directories. Of a directory it reads
// the files that end in .yaml, .yml or .json in the order of their names, but no
// subdirectories, see [Unread]; "-" is the standard input. The error joins the problems of
// all files; if there is one, no policy is returned.
func Load(paths ...string) ([]Policy, error) {
	if len(paths) == 0 {
		return nil, errors.New("load policies: no file is given; name a file or directory")
	}
	var set []Policy
	var errs []error
	lists := lists{}
	loaded := make(map[string]bool)
	for _, path := range paths {
		files, err := Files(path)
		if err != nil {
			errs = append(errs, fmt.Errorf("load policies: %w", err))
		}
		for _, file := range files {
			if loaded[filepath.Clean(file)] {
				errs = append(errs, fmt.Errorf("load policies: %s is given twice; name it once", file))
				continue
			}
			loaded[filepath.Clean(file)] = true
			policies, err := loadFile(file, file != path, lists)
			if err != nil && leadsOutside(path, file) {
				err = fmt.Errorf("%s cannot be used; what is wrong is not shown, because it is a link out of its directory; run 'ebpfguard validate' on the file that it leads to", file)
			}
			if err != nil {
				errs = append(errs, err)
			}
			set = append(set, policies...)
		}
	}
	// Those of one file are known to differ.
	errs = append(errs, duplicates(set)...)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return set, nil
}

// Files returns the files that [Load] reads for a path: of a directory those that are named
// *.yaml or *.yml, and otherwise the path itself.
func Files(path string) ([]string, error) {
	if path == "-" {
		return []string{path}, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("%w; check the path", err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	files, err := DirectoryFiles(path)
	if err != nil {
		return nil, fmt.Errorf("%w; check the permissions", err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s holds no *.yaml, *.yml or *.json file; add one or name another directory", path)
	}
	return files, nil
}

// DirectoryFiles returns the files that [Load] reads of a directory, in the order of their names.
func DirectoryFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, entry := range entries { // sorted by name
		if !entry.IsDir() && slices.Contains(extensions, filepath.Ext(entry.Name())) {
			files = append(files, filepath.Join(dir, entry.Name()))
		}
	}
	return files, nil
}

// Unread returns a warning for what [Load] does not read of the directories among the paths, although it
// looks as if it were meant: a subdirectory with policy files, unless its name begins with a dot, and a
// file whose name ends in capital letters, such as .YAML. What ends otherwise (.bak, ~, .disabled) is not
// meant.
func Unread(paths ...string) []Warning {
	var warnings []Warning
	warn := func(path, text string) { warnings = append(warnings, Warning{Source: path, Rule: -1, Text: text}) }
	for _, path := range paths {
		entries, err := os.ReadDir(path)
		if err != nil {
			continue // a file, or what Load fails for
		}
		for _, entry := range entries {
			name := filepath.Join(path, entry.Name())
			ext := filepath.Ext(name)
			switch {
			case strings.HasPrefix(entry.Name(), ".") || !entry.IsDir() && slices.Contains(extensions, ext):
			case slices.Contains(extensions, strings.ToLower(ext)) && !entry.IsDir():
				warn(name, "it is not read; write "+strings.ToLower(ext)+" in small letters")
			default:
				// Of a file there are none.
				if files, err := DirectoryFiles(name); err == nil && len(files) > 0 {
					warn(name, "its policies are not read, since a directory stands for its own files only; move them up, or begin its name with a dot if they are not meant")
				}
			}
		}
	}
	return warnings
}

// leadsOutside reports whether a file of a directory is a link to a file elsewhere: who may make links
// there, or hear what is wrong, need not be allowed to read that.
func leadsOutside(dir, file string) bool {
	if file == dir {
		return false
	}
	folder, err1 := filepath.EvalSymlinks(dir)
	real, err2 := filepath.EvalSymlinks(file)
	return err1 == nil && err2 == nil && !strings.HasPrefix(real, strings.TrimSuffix(folder, "/")+"/")
}

// loadFile reads a file, which may be a named pipe only if it was named itself.
func loadFile(path string, listed bool, lists lists) ([]Policy, error) {
	name, input := path, io.Reader(os.Stdin)
	if path == "-" {
		name = "<stdin>"
	} else {
		open := os.Open
		if listed {
			open = regular.Open
		}
		file, err := open(path)
		if err != nil {
			return nil, fmt.Errorf("load policies: %w; check the path and its permissions", err)
		}
		defer file.Close()
		input = file
	}
	data, err := io.ReadAll(io.LimitReader(input, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("load policies: %w; check that it is a file", err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("load policies: %s has more than %d bytes; split it", name, maxFile)
	}
	return parse(strings.TrimPrefix(name, "./"), data, lists)
}
