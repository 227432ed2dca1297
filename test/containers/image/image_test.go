package image

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	i := Image{
		Files: map[string]string{"/bin/program": program}, Links: map[string]string{"/bin/sh": "program"},
		Texts: map[string]string{"/srv/data/secret": "secret"}, Entrypoint: []string{"/bin/program"},
	}
	var digests []string
	var archives [][]byte
	for range 2 {
		archive := filepath.Join(dir, "image.tar")
		digest, err := i.Write(archive, "docker.io/library/test:1")
		if err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(archive)
		if err != nil {
			t.Fatal(err)
		}
		digests, archives = append(digests, digest), append(archives, content)
	}
	if digests[0] != digests[1] || !bytes.Equal(archives[0], archives[1]) {
		t.Errorf("the same files give the digests %q and archives that are the same: %v", digests, bytes.Equal(archives[0], archives[1]))
	}
	var names []string
	for r := tar.NewReader(bytes.NewReader(archives[0])); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
	for _, want := range []string{"index.json", "oci-layout"} {
		if !slices.Contains(names, want) {
			t.Errorf("the archive has %q and no %s", names, want)
		}
	}
	if _, err := i.Write(filepath.Join(dir, "image.tar"), "no such name"); err == nil {
		t.Error("a reference that is none gives no error")
	}
}
