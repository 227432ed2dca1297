// Command dist builds what a release consists of: static binaries, packages for Debian and for RPM, archives and their
// checksums. The same commit gives the same bytes.
//
//	go run ./internal/tools/dist -out dist
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// arches are Go's names of the architectures that packages are made for.
var arches = []string{"amd64", "arm64"}

type options struct {
	root, out, version string
	arches, formats    []string
	check              bool
}

func main() {
	o, err := parse(os.Args[1:])
	if err == flag.ErrHelp {
		return
	}
	if err != nil {
		os.Exit(2)
	}
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "dist:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	var arch, format string
	f := flag.NewFlagSet("dist", flag.ContinueOnError)
	f.StringVar(&o.root, "root", ".", "`folder` of the checkout")
	f.StringVar(&o.out, "out", "dist", "`folder` for the results, relative to the checkout; made anew")
	f.StringVar(&o.version, "version", "", "`version` of the packages; the tag, or one made of the commit, if empty")
	f.StringVar(&arch, "arch", strings.Join(arches, ","), "comma-separated `architectures`")
	f.StringVar(&format, "format", strings.Join(formats, ","), "comma-separated `formats`")
	f.BoolVar(&o.check, "check", false, "build everything twice, in different folders, and compare; keep nothing")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.arches, o.formats = strings.Split(arch, ","), strings.Split(format, ",")
	for _, name := range o.formats {
		if !slices.Contains(formats, name) {
			err := fmt.Errorf("-format %s: choose of %v", name, formats)
			fmt.Fprintln(os.Stderr, "dist:", err)
			return o, err
		}
	}
	return o, nil
}

func run(o options) error {
	root, err := filepath.Abs(o.root)
	if err != nil {
		return err
	}
	s, err := readSource(root, o.version)
	if err != nil {
		return err
	}
	if o.check {
		return check(s, o)
	}
	out := o.out
	if !filepath.IsAbs(out) {
		out = filepath.Join(root, out)
	}
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	files, err := release(s, o, out)
	for _, file := range files {
		fmt.Printf("%9d %s\n", file.size, filepath.Join(out, file.name))
	}
	return err
}

// release builds everything into the folder.
func release(s source, o options, out string) ([]made, error) {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, err
	}
	work, err := os.MkdirTemp("", "ebpfguard-dist-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	extra, err := s.generated(work)
	if err != nil {
		return nil, err
	}
	for _, arch := range o.arches {
		binary := filepath.Join(work, arch, "ebpfguard")
		if err := s.Build(binary, arch); err != nil {
			return nil, err
		}
		contents, err := s.contents(binary, extra)
		if err != nil {
			return nil, err
		}
		for _, format := range o.formats {
			if format == archiveFormat {
				err = s.archive(out, arch, contents)
			} else {
				err = s.pack(out, arch, format, contents)
			}
			if err != nil {
				return nil, fmt.Errorf("make the %s of %s: %w", format, arch, err)
			}
		}
	}
	return sum(out)
}

// check builds twice and fails when a byte differs.
func check(s source, o options) error {
	var builds [2][]made
	for i := range builds {
		dir, err := os.MkdirTemp("", "ebpfguard-dist-check-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		if builds[i], err = release(s, o, dir); err != nil {
			return err
		}
	}
	if !slices.Equal(builds[0], builds[1]) {
		return fmt.Errorf("two builds of one commit differ:\n%v\n%v", builds[0], builds[1])
	}
	for _, file := range builds[0] {
		fmt.Printf("%s  %s (%d bytes, twice the same)\n", file.hash, file.name, file.size)
	}
	return nil
}
