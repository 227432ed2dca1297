package vmtest

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// guestSuites are where the guest's packages come from.
var guestSuites = []string{"bookworm", "bookworm-updates", "bookworm-security"}

// segmentFormat changes whenever packTar makes something else of the same packages.
const segmentFormat = "2"

// unneeded is left out: unpacking it takes an emulated guest seconds.
var unneeded = regexp.MustCompile(`^usr/share/(doc|info|lintian|locale|man)/.`)

// resolution remembers which versions a list of packages came down to.
type resolution struct {
	// Segment is the file in the cache's folder of packages.
	Segment  string
	Versions []string
	Resolved time.Time
}

// path returns the segment's path, empty when there are no packages.
func (r resolution) path() (string, error) {
	if r.Segment == "" {
		return "", nil
	}
	cache, err := cacheDir()
	return filepath.Join(cache, "packages", r.Segment), err
}

// FetchPackages fetches the packages and what they depend on into the cache, and returns their versions.
func FetchPackages(ctx context.Context, arch string, names []string, warn func(string)) ([]string, error) {
	found, err := fetchPackages(ctx, arch, names, warn)
	return found.Versions, err
}

// fetchPackages returns an initramfs segment with the packages and what they depend on, without recommendations.
// Maintainer scripts do not run: no users, alternatives or caches beyond what the packages ship.
func fetchPackages(ctx context.Context, arch string, names []string, warn func(string)) (resolution, error) {
	if len(names) == 0 {
		return resolution{}, nil
	}
	cache, err := cacheDir()
	if err != nil {
		return resolution{}, err
	}
	unlock, err := lock(cache)
	if err != nil {
		return resolution{}, err
	}
	defer unlock()

	names = slices.Compact(slices.Sorted(slices.Values(names)))
	dir := filepath.Join(cache, "packages")
	record := filepath.Join(dir, digest(append([]string{arch}, names...))+".json")
	var known resolution
	have := readJSON(record, &known) == nil
	if _, err := os.Stat(filepath.Join(dir, known.Segment)); err != nil {
		have = false
	}
	if have && time.Since(known.Resolved) < fresh {
		return known, nil
	}
	found, err := resolvePackages(ctx, cache, arch, dir, names, warn)
	if err == nil {
		return found, writeJSON(record, found)
	}
	if have && ctx.Err() == nil {
		warn(fmt.Sprintf("fetch packages %v: %v; going on with those in the cache", names, err))
		known.Resolved = time.Now().Add(backoff - fresh)
		return known, writeJSON(record, known)
	}
	return resolution{}, fmt.Errorf("fetch packages %v: %w", names, err)
}

func resolvePackages(ctx context.Context, cache, arch, dir string, names []string, warn func(string)) (resolution, error) {
	a, err := openUpdated(ctx, cache, arch, guestSuites, warn)
	if err != nil {
		return resolution{}, err
	}
	out, err := a.run(ctx, "", "apt-get", append([]string{"-q", "--simulate", "install"}, names...)...)
	if err != nil {
		return resolution{}, err
	}
	found := resolution{Versions: parseSimulation(string(out)), Resolved: time.Now()}
	if len(found.Versions) == 0 {
		return resolution{}, errors.New("apt would install nothing")
	}
	found.Segment = digest(append([]string{segmentFormat, arch}, found.Versions...)) + ".cpio"
	path := filepath.Join(dir, found.Segment)
	if _, err := os.Stat(path); err == nil {
		return found, nil
	}
	if _, err := a.run(ctx, "", "apt-get", "clean"); err != nil {
		return resolution{}, err
	}
	if _, err := a.run(ctx, "", "apt-get", append([]string{"-q", "-y", "--download-only", "install"}, names...)...); err != nil {
		return resolution{}, err
	}
	debs, err := filepath.Glob(filepath.Join(a.dir, "cache", "archives", "*.deb"))
	if err != nil {
		return resolution{}, err
	}
	if len(debs) != len(found.Versions) {
		return resolution{}, fmt.Errorf("apt downloaded %d packages of %d; try again", len(debs), len(found.Versions))
	}
	err = publish(path, func(tmp string) error { return packSegment(ctx, tmp, debs) })
	if err != nil {
		return resolution{}, err
	}
	_, err = a.run(ctx, "", "apt-get", "clean")
	return found, err
}

// parseSimulation reads lines such as "Inst curl (7.88.1-10 Debian:12/oldstable [amd64])".
func parseSimulation(out string) []string {
	var versions []string
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) >= 3 && fields[0] == "Inst" {
			versions = append(versions, fields[1]+"="+strings.TrimPrefix(fields[2], "("))
		}
	}
	slices.Sort(versions)
	return versions
}

func digest(items []string) string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Join(items, "\n"))))[:16]
}

func packSegment(ctx context.Context, path string, debs []string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	buffered := bufio.NewWriterSize(f, 1<<20)
	c := newCpio(buffered)
	for _, deb := range debs {
		if err := packDeb(ctx, c, deb); err != nil {
			return fmt.Errorf("unpack %s: %w", filepath.Base(deb), err)
		}
	}
	return errors.Join(c.close(), buffered.Flush(), f.Close())
}

// packDeb turns the package's own tar stream into entries of the initramfs, which keeps owners and modes without
// needing root on the host.
func packDeb(ctx context.Context, c *cpio, deb string) error {
	path, err := tool("dpkg-deb")
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path, "--fsys-tarfile", deb)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stream, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	packErr := packTar(c, tar.NewReader(stream))
	_, _ = io.Copy(io.Discard, stream)
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return packErr
}

// packTar repeats the content for a hard link; they are rare and small in the packages.
func packTar(c *cpio, r *tar.Reader) error {
	contents := make(map[string][]byte)
	for {
		h, err := r.Next()
		if err == io.EOF {
			return c.err
		}
		if err != nil {
			return err
		}
		if unneeded.MatchString(guestPath(h.Name)) {
			continue
		}
		mode := h.FileInfo().Mode()
		switch h.Typeflag {
		case tar.TypeDir:
			c.dir(h.Name, mode)
		case tar.TypeSymlink:
			c.symlink(h.Name, h.Linkname)
		case tar.TypeReg:
			content, err := io.ReadAll(r)
			if err != nil {
				return err
			}
			contents[guestPath(h.Name)] = content
			c.file(h.Name, mode, h.Uid, h.Gid, bytes.NewReader(content), int64(len(content)))
		case tar.TypeLink:
			content, ok := contents[guestPath(h.Linkname)]
			if !ok {
				return fmt.Errorf("hard link %s to the unknown %s", h.Name, h.Linkname)
			}
			c.file(h.Name, mode, h.Uid, h.Gid, bytes.NewReader(content), int64(len(content)))
		}
		if c.err != nil {
			return c.err
		}
	}
}
