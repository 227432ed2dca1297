package main

import (
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

const (
	docDir    = "/usr/share/doc/ebpfguard"
	configDir = "/etc/ebpfguard"
)

// content is a file, link or folder of a package. Only a file has a source.
type content struct {
	path, source string
	// link is what a symbolic link leads to.
	link string
	mode fs.FileMode
	// config files are the administrator's once they are installed.
	config bool
	// format restricts it to packages of one format; empty: all.
	format string
}

// documentation are the files and folders of the checkout that packages hold below docDir.
var documentation = []string{
	"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE", "bpf/LICENSE.GPL-2.0", "bpf/LICENSE.BSD-2-Clause",
	"docs", "examples", "example_test.go", "examples/go/agent/main.go", "examples/go/sandbox/main.go", "examples/go/falco/main.go",
	"bpf/hooks/file_open_ioctl.h", "api/alert.schema.json", "api/ebpfguard/v1alpha1/guard.proto",
	"deploy/config.yaml", "deploy/container", "deploy/grafana", "deploy/prometheus",
}

// contents lists what every package holds, besides its scripts.
func (s source) contents(binary string, extra generated) ([]content, error) {
	from := func(name string) string { return filepath.Join(s.Root, filepath.FromSlash(name)) }
	all := []content{
		{path: "/usr/bin/ebpfguard", source: binary, mode: 0o755},
		// kubectl runs them for 'kubectl ebpfguard' and for its completion.
		{path: "/usr/bin/kubectl-ebpfguard", link: "ebpfguard", mode: fs.ModeSymlink | 0o777},
		{path: "/usr/bin/kubectl_complete-ebpfguard", link: "ebpfguard", mode: fs.ModeSymlink | 0o777},
		{path: "/usr/lib/systemd/system/ebpfguard.service", source: from("deploy/systemd/ebpfguard.service"), mode: 0o644},
		{path: configDir, mode: fs.ModeDir | 0o750},
		{path: configDir + "/policies.d", mode: fs.ModeDir | 0o750},
		{path: configDir + "/config.yaml", source: s.config, mode: 0o640, config: true},
		{path: docDir + "/copyright", source: from("deploy/package/copyright"), mode: 0o644},
		{path: "/usr/share/bash-completion/completions/ebpfguard", source: extra.completions["bash"], mode: 0o644},
		{path: "/usr/share/fish/vendor_completions.d/ebpfguard.fish", source: extra.completions["fish"], mode: 0o644},
		{path: "/usr/share/zsh/vendor-completions/_ebpfguard", source: extra.completions["zsh"], mode: 0o644, format: "deb"},
		{path: "/usr/share/zsh/site-functions/_ebpfguard", source: extra.completions["zsh"], mode: 0o644, format: "rpm"},
		{path: "/usr/share/zsh/site-functions/_ebpfguard", source: extra.completions["zsh"], mode: 0o644, format: archiveFormat},
	}
	for _, page := range extra.pages {
		number := filepath.Ext(strings.TrimSuffix(page, ".gz"))[1:]
		all = append(all, content{path: "/usr/share/man/man" + number + "/" + filepath.Base(page), source: page, mode: 0o644})
	}
	// The pages, and what they lead to, lie there as they do here, so that their links work.
	for _, page := range documentation {
		err := filepath.WalkDir(from(page), func(name string, d fs.DirEntry, err error) error {
			// Of a folder, what is there for developers stays there.
			if err != nil || !d.Type().IsRegular() || path.Ext(name) == ".go" && name != from(page) {
				return err
			}
			rel, err := filepath.Rel(s.Root, name)
			all = append(all, content{path: path.Join(docDir, filepath.ToSlash(rel)), source: name, mode: 0o644})
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	// rpm removes the folders that a package names, not those that its files happen to lie in.
	folders := map[string]bool{}
	for _, c := range all {
		for dir := path.Dir(c.path); strings.HasPrefix(dir, docDir); dir = path.Dir(dir) {
			folders[dir] = true
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(folders)) {
		all = append(all, content{path: dir, mode: fs.ModeDir | 0o755})
	}
	for _, c := range all {
		if c.source == "" {
			continue
		}
		if _, err := os.Stat(c.source); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// of returns what the format's packages hold.
func of(all []content, format string) []content {
	var some []content
	for _, c := range all {
		if c.format == "" || c.format == format {
			some = append(some, c)
		}
	}
	return some
}
