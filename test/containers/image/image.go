// Package image makes images for containers of the tests, without docker, without root and without a registry.
package image

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Image is what an image consists of: files in one layer.
type Image struct {
	// Files maps absolute paths in the image to files of this machine, Texts to what is in them. A file is
	// readable and executable for everybody, a text readable.
	Files, Texts map[string]string
	// Links maps absolute paths to where they lead.
	Links map[string]string
	// Entrypoint is what a container of it runs.
	Entrypoint []string
	// Labels are those of the image.
	Labels map[string]string
}

// nameAnnotation is what containerd calls an image of an archive.
const nameAnnotation = "io.containerd.image.name"

// Write writes an archive that ctr, podman and skopeo import, and returns the digest of the image. The same
// files give the same bytes.
func (i Image) Write(archive, reference string) (string, error) {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return "", fmt.Errorf("make the image %s: %w", reference, err)
	}
	image, err := i.build()
	if err != nil {
		return "", fmt.Errorf("make the image %s: %w", reference, err)
	}
	digest, err := image.Digest()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "ebpfguard-image-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		return "", fmt.Errorf("write the image %s: %w", reference, err)
	}
	err = p.AppendImage(image, layout.WithAnnotations(map[string]string{
		// As it was given: the library calls docker.io otherwise than containerd does.
		nameAnnotation: reference, "org.opencontainers.image.ref.name": ref.Identifier(),
	}))
	if err != nil {
		return "", fmt.Errorf("write the image %s: %w", reference, err)
	}
	if err := pack(archive, dir); err != nil {
		return "", fmt.Errorf("write the image %s to %s: %w", reference, archive, err)
	}
	return digest.String(), nil
}

func (i Image) build() (v1.Image, error) {
	content, err := i.layer()
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
		tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1), layer)
	if err != nil {
		return nil, err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Created = "linux", runtime.GOARCH, v1.Time{Time: time.Unix(0, 0)}
	file.Config = v1.Config{Entrypoint: i.Entrypoint, Env: []string{"PATH=/bin"}, Labels: i.Labels}
	return mutate.ConfigFile(image, file)
}

// layer returns the files as a tar archive.
func (i Image) layer() ([]byte, error) {
	entries := make(map[string]tar.Header)
	contents := make(map[string][]byte)
	add := func(name string, h tar.Header, content []byte) {
		h.Name, h.Size, contents[name] = strings.TrimPrefix(name, "/"), int64(len(content)), content
		entries[name] = h
		for dir := path.Dir(name); dir != "/"; dir = path.Dir(dir) {
			entries[dir] = tar.Header{Typeflag: tar.TypeDir, Name: strings.TrimPrefix(dir, "/") + "/", Mode: 0o755}
		}
	}
	for name, source := range i.Files {
		content, err := os.ReadFile(source)
		if err != nil {
			return nil, err
		}
		add(name, tar.Header{Typeflag: tar.TypeReg, Mode: 0o755}, content)
	}
	for name, text := range i.Texts {
		add(name, tar.Header{Typeflag: tar.TypeReg, Mode: 0o644}, []byte(text))
	}
	for name, target := range i.Links {
		add(name, tar.Header{Typeflag: tar.TypeSymlink, Linkname: target, Mode: 0o777}, nil)
	}
	names := make([]string, 0, len(entries))
	for name := range entries {
		names = append(names, name)
	}
	slices.Sort(names)
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range names {
		h := entries[name]
		if err := w.WriteHeader(&h); err != nil {
			return nil, err
		}
		if _, err := w.Write(contents[name]); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), w.Close()
}

// pack makes one archive of a folder.
func pack(archive, dir string) error {
	f, err := os.Create(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	w := tar.NewWriter(f)
	err = filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: filepath.ToSlash(rel), Mode: 0o644, Size: int64(len(content))}); err != nil {
			return err
		}
		_, err = w.Write(content)
		return err
	})
	if err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return f.Close()
}
