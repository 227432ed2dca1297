package main

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	archiveFormat = "tar.gz"
	sumsName      = "SHA256SUMS"
)

// formats are what can be made for each architecture.
var formats = []string{"deb", "rpm", archiveFormat}

// archive makes a tar file with the packages' contents below one folder, for other systems.
func (s source) archive(out, arch string, contents []content) error {
	name := fmt.Sprintf("ebpfguard_%s_linux_%s", s.Version, arch)
	f, err := os.Create(filepath.Join(out, name+"."+archiveFormat))
	if err != nil {
		return err
	}
	defer f.Close()
	// A header without time and name: the same contents give the same bytes.
	compressed := gzip.NewWriter(f)
	w := tar.NewWriter(compressed)
	some := of(contents, archiveFormat)
	slices.SortFunc(some, func(a, b content) int { return strings.Compare(a.path, b.path) })
	for _, c := range some {
		if err := s.add(w, name+c.path, c); err != nil {
			return err
		}
	}
	return errors.Join(w.Close(), compressed.Close(), f.Close())
}

func (s source) add(w *tar.Writer, name string, c content) error {
	h := &tar.Header{Name: name, Mode: int64(c.mode.Perm()), ModTime: s.Time, Uname: "root", Gname: "root", Format: tar.FormatPAX}
	if c.mode.IsDir() {
		h.Typeflag, h.Name = tar.TypeDir, name+"/"
		return w.WriteHeader(h)
	}
	if c.link != "" {
		h.Typeflag, h.Linkname = tar.TypeSymlink, c.link
		return w.WriteHeader(h)
	}
	raw, err := os.ReadFile(c.source)
	if err != nil {
		return err
	}
	h.Typeflag, h.Size = tar.TypeReg, int64(len(raw))
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err = w.Write(raw)
	return err
}

// made is a file of a release.
type made struct {
	name, hash string
	size       int64
}

// sum writes the checksums of all files in the folder, in the form that sha256sum(1) checks.
func sum(out string) ([]made, error) {
	entries, err := os.ReadDir(out)
	if err != nil {
		return nil, err
	}
	var all []made
	var lines strings.Builder
	for _, entry := range entries {
		f, err := os.Open(filepath.Join(out, entry.Name()))
		if err != nil {
			return nil, err
		}
		h := sha256.New()
		size, err := io.Copy(h, f)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		all = append(all, made{name: entry.Name(), hash: fmt.Sprintf("%x", h.Sum(nil)), size: size})
		fmt.Fprintf(&lines, "%x  %s\n", h.Sum(nil), entry.Name())
	}
	return all, os.WriteFile(filepath.Join(out, sumsName), []byte(lines.String()), 0o644)
}
