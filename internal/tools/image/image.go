package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ebpfguard/ebpfguard/internal/tools/checkout"
)

// file is a file or folder of the image. A folder has no data.
type file struct {
	path string
	mode fs.FileMode
	data []byte
}

// folders are mount points: a runtime can make none where the root is read-only.
var folders = []struct {
	path string
	mode fs.FileMode
}{
	{"dev", 0o755}, {"etc", 0o755}, {"etc/ebpfguard", 0o750}, {"etc/ebpfguard/policies.d", 0o750}, {"host", 0o755}, {"proc", 0o755},
	{"run", 0o755}, {"run/ebpfguard", 0o755}, {"sys", 0o755}, {"tmp", 0o777 | fs.ModeSticky}, {"usr", 0o755}, {"usr/share", 0o755},
	{"usr/share/doc", 0o755}, {"usr/share/doc/ebpfguard", 0o755}, {"var", 0o755}, {"var/lib", 0o755}, {"var/lib/ebpfguard", 0o700},
	{"var/log", 0o755}, {"var/log/ebpfguard", 0o750},
}

// contents lists what the image holds: the command, and what its licences ask for.
func contents(c checkout.Checkout, binary string) ([]file, error) {
	var all []file
	for _, f := range folders {
		all = append(all, file{path: f.path, mode: fs.ModeDir | f.mode})
	}
	for _, f := range []struct {
		path, from string
		mode       fs.FileMode
	}{
		{"ebpfguard", binary, 0o755},
		{"usr/share/doc/ebpfguard/copyright", filepath.Join(c.Root, "deploy/package/copyright"), 0o644},
		{"usr/share/doc/ebpfguard/LICENSE", filepath.Join(c.Root, "LICENSE"), 0o644},
		{"usr/share/doc/ebpfguard/LICENSE.GPL-2.0", filepath.Join(c.Root, "bpf/LICENSE.GPL-2.0"), 0o644},
		{"usr/share/doc/ebpfguard/LICENSE.BSD-2-Clause", filepath.Join(c.Root, "bpf/LICENSE.BSD-2-Clause"), 0o644},
	} {
		data, err := os.ReadFile(f.from)
		if err != nil {
			return nil, err
		}
		all = append(all, file{f.path, f.mode, data})
	}
	return all, nil
}

func total(files []file) (size int64) {
	for _, f := range files {
		size += int64(len(f.data))
	}
	return size
}

// newImage makes an image of one layer.
func newImage(c checkout.Checkout, arch string, files []file) (v1.Image, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.path, Mode: int64(f.mode.Perm()), Size: int64(len(f.data)), ModTime: c.Time, Format: tar.FormatPAX}
		if f.mode&fs.ModeSticky != 0 {
			h.Mode |= 0o1000
		}
		if f.mode.IsDir() {
			h.Typeflag, h.Name = tar.TypeDir, f.path+"/"
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil }
	layer, err := tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching,
		tarball.WithCompressionLevel(gzip.BestCompression)) // a seventh less to pull
	if err != nil {
		return nil, err
	}
	image, err := mutate.Append(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON),
		mutate.Addendum{Layer: layer, History: v1.History{Created: v1.Time{Time: c.Time}, CreatedBy: "make image"}})
	if err != nil {
		return nil, err
	}
	// Outside a git checkout nobody knows.
	revision, _ := c.Command("git", "rev-parse", "HEAD")
	return mutate.ConfigFile(image, configFile(image, c, arch, revision))
}

// configFile says how the image is run, and what it is.
func configFile(image v1.Image, c checkout.Checkout, arch, revision string) *v1.ConfigFile {
	made, err := image.ConfigFile()
	if err != nil {
		panic(fmt.Sprintf("the image that was made cannot be read: %v", err)) // it is in memory
	}
	config := made.DeepCopy()
	config.OS, config.Architecture, config.Created = "linux", arch, v1.Time{Time: c.Time}
	const home = "https://github.com/ebpfguard/ebpfguard"
	labels := map[string]string{
		"org.opencontainers.image.title":         "ebpfguard",
		"org.opencontainers.image.description":   "Inline mitigation by ebpfguard's policies",
		"org.opencontainers.image.version":       c.Version,
		"org.opencontainers.image.created":       c.Time.Format("2006-01-02T15:04:05Z"),
		"org.opencontainers.image.source":        home,
		"org.opencontainers.image.documentation": home + "/blob/main/docs/containers.md",
		"org.opencontainers.image.licenses":      "Apache-2.0 AND (GPL-2.0-only OR BSD-2-Clause)",
	}
	if revision != "" {
		labels["org.opencontainers.image.revision"] = revision
	}
	config.Config = v1.Config{
		Entrypoint: []string{"/ebpfguard"},
		Cmd:        []string{"daemon"},
		Env:        []string{"PATH=/"},
		User:       "0:0",
		WorkingDir: "/",
		StopSignal: "SIGTERM",
		Labels:     labels,
	}
	return config
}

// unpack writes the files of an image as a runtime has them.
func unpack(to string, files []file) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, f := range files {
		path := filepath.Join(to, filepath.FromSlash(f.path))
		var err error
		if f.mode.IsDir() {
			err = os.Mkdir(path, f.mode.Perm())
		} else {
			err = os.WriteFile(path, f.data, f.mode.Perm())
		}
		if err == nil {
			err = os.Chmod(path, f.mode) // whatever the umask
		}
		if err != nil {
			return err
		}
	}
	return nil
}
