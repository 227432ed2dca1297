package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb" // registers the format
	"github.com/goreleaser/nfpm/v2/files"
	_ "github.com/goreleaser/nfpm/v2/rpm" // registers the format
)

const description = `Inline mitigation with eBPF
Policies say which processes may open files, start programs, bind and connect
sockets, mount and change users. The kernel refuses what they forbid, before it
happens, and every refusal raises an alert.`

// scripts are the maintainer scripts of each format, by when they run.
var scripts = map[string]nfpm.Scripts{
	"deb": {PostInstall: "deb/postinst", PreRemove: "deb/prerm", PostRemove: "deb/postrm"},
	"rpm": {PostInstall: "rpm/post", PreRemove: "rpm/preun", PostRemove: "rpm/postun"},
}

var depends = map[string][]string{
	// deb-systemd-helper and deb-systemd-invoke.
	"deb": {"init-system-helpers (>= 1.54)"},
	"rpm": {"systemd"},
}

// pack makes one package. It depends on no library: the command is static.
func (s source) pack(out, arch, format string, contents []content) error {
	in := func(name string) string {
		if name == "" {
			return ""
		}
		return filepath.Join(s.Root, "deploy", "package", filepath.FromSlash(name))
	}
	info := &nfpm.Info{
		Name:        "ebpfguard",
		Arch:        arch,
		Platform:    "linux",
		Version:     s.Version,
		Section:     "admin",
		Priority:    "optional",
		Maintainer:  "the authors of ebpfguard <ebpfguard@users.noreply.github.com>",
		Description: description,
		Homepage:    "https://github.com/ebpfguard/ebpfguard",
		License:     "Apache-2.0 AND (GPL-2.0-only OR BSD-2-Clause)",
		MTime:       s.Time,
		// A file is what its name says.
		DisableGlobbing: true,
	}
	info.Depends = depends[format]
	info.Scripts = nfpm.Scripts{
		PostInstall: in(scripts[format].PostInstall),
		PreRemove:   in(scripts[format].PreRemove),
		PostRemove:  in(scripts[format].PostRemove),
	}
	info.Deb.Compression = "xz"
	info.RPM.Compression = "xz"
	info.RPM.BuildHost = "localhost"
	for _, c := range of(contents, format) {
		info.Contents = append(info.Contents, s.nfpmContent(c))
	}
	info = nfpm.WithDefaults(info)
	if err := nfpm.PrepareForPackager(info, format); err != nil {
		return err
	}
	packager, err := nfpm.Get(format)
	if err != nil {
		return err
	}
	path := filepath.Join(out, packager.ConventionalFileName(info))
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := packager.Package(info, f); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return f.Close()
}

func (s source) nfpmContent(c content) *files.Content {
	kind := files.TypeFile
	switch {
	case c.mode.IsDir():
		kind = files.TypeDir
	case c.link != "":
		return &files.Content{Source: c.link, Destination: c.path, Type: files.TypeSymlink, FileInfo: &files.ContentFileInfo{Owner: "root", Group: "root", MTime: s.Time}}
	case c.config:
		kind = files.TypeConfigNoReplace
	}
	mode := c.mode
	if kind != files.TypeDir {
		mode &^= fs.ModeDir
	} else {
		mode = mode.Perm()
	}
	return &files.Content{
		Source:      c.source,
		Destination: c.path,
		Type:        kind,
		FileInfo:    &files.ContentFileInfo{Owner: "root", Group: "root", Mode: mode, MTime: s.Time},
	}
}
