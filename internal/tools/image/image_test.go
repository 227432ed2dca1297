package main

import (
	"archive/tar"
	"crypto/sha256"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/ebpfguard/ebpfguard/internal/tools/checkout"
)

// TestImage builds the image twice and compares, then looks into what was written, as those do who run it.
func TestImage(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	c, err := checkout.Read(root, "1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	// To build takes long: that the command is the same each time `make dist-check` finds out.
	command := filepath.Join(t.TempDir(), "ebpfguard")
	if err := c.Build(command, runtime.GOARCH); err != nil {
		t.Fatal(err)
	}
	o := options{name: "ebpfguard", arches: []string{"amd64", "arm64"}, compile: func(to, arch string) error { return os.Link(command, to) }}
	var digests [2]v1.Hash
	var sums [2][sha256.Size]byte
	var out string
	for i := range digests {
		out = t.TempDir()
		o.rootfs = filepath.Join(out, "rootfs")
		index, err := build(c, o, out)
		if err != nil {
			t.Fatal(err)
		}
		if digests[i], err = index.Digest(); err != nil {
			t.Fatal(err)
		}
		archive, err := os.ReadFile(filepath.Join(out, "ebpfguard_1.2.3_image_amd64.tar"))
		if err != nil {
			t.Fatal(err)
		}
		sums[i] = sha256.Sum256(archive)
	}
	if digests[0] != digests[1] || sums[0] != sums[1] {
		t.Errorf("two builds of one commit differ: %v, %x", digests, sums)
	}
	wantLayout(t, filepath.Join(out, layoutName), digests[0])
	image, err := tarball.ImageFromPath(filepath.Join(out, "ebpfguard_1.2.3_image_arm64.tar"), nil)
	if err != nil {
		t.Fatal(err)
	}
	wantImage(t, image, "arm64")
	if info, err := os.Stat(filepath.Join(o.rootfs, "ebpfguard")); err != nil || info.Mode().Perm() != 0o755 || info.Size() > maxSize {
		t.Errorf("the bundle's command: %v, %v", info, err)
	}
}

// wantLayout expects an index with an image for each architecture.
func wantLayout(t *testing.T, path string, digest v1.Hash) {
	t.Helper()
	top, err := layout.ImageIndexFromPath(path)
	if err != nil {
		t.Fatal(err)
	}
	index, err := top.ImageIndex(digest)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, m := range manifest.Manifests {
		image, err := index.Image(m.Digest)
		if err != nil {
			t.Fatal(err)
		}
		wantImage(t, image, m.Platform.Architecture)
		found = append(found, m.Platform.String())
	}
	if want := []string{"linux/amd64", "linux/arm64"}; !slices.Equal(found, want) {
		t.Errorf("the index has %v, want %v", found, want)
	}
}

func wantImage(t *testing.T, image v1.Image, arch string) {
	t.Helper()
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Architecture != arch || config.OS != "linux" || !slices.Equal(config.Config.Entrypoint, []string{"/ebpfguard"}) || !slices.Equal(config.Config.Cmd, []string{"daemon"}) {
		t.Errorf("%s: %+v", arch, config)
	}
	if l := config.Config.Labels; l["org.opencontainers.image.version"] != "1.2.3" || l["org.opencontainers.image.created"] != "2023-11-14T22:13:20Z" {
		t.Errorf("%s: labels %v", arch, l)
	}
	layers, err := image.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	var size int64
	found := map[string]int64{}
	for r := tar.NewReader(content); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		size += h.Size
		found[h.Name] = h.Mode
		if h.Uid != 0 || h.Gid != 0 || h.ModTime.Unix() != 1700000000 {
			t.Errorf("%s: %+v", h.Name, h)
		}
	}
	if size > maxSize || size < 1<<20 {
		t.Errorf("%s: the image has %d bytes unpacked", arch, size)
	}
	for name, mode := range map[string]int64{"ebpfguard": 0o755, "etc/ebpfguard/policies.d/": 0o750, "tmp/": 0o1777, "usr/share/doc/ebpfguard/LICENSE.GPL-2.0": 0o644} {
		if found[name] != mode {
			t.Errorf("%s: %s has mode %o, want %o", arch, name, found[name], mode)
		}
	}
}
