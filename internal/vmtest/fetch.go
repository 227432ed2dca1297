package vmtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Image is a fetched kernel.
type Image struct {
	// Release is what uname -r prints in the guest.
	Release string
	// Version is the Debian package's version.
	Version string
	// Resolved is when the archive was last asked for the newest version.
	Resolved time.Time

	dir string
}

// Vmlinuz is the path of the kernel itself.
func (i Image) Vmlinuz() string { return filepath.Join(i.dir, "vmlinuz") }

// modules is the folder with the release's modules; the older packages are not merged into usr.
func (i Image) modules() string {
	dir := filepath.Join(i.dir, "usr", "lib", "modules", i.Release)
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	return filepath.Join(i.dir, "lib", "modules", i.Release)
}

// Fetch returns the newest kernel of the row's series. It asks the archive at most once a day, and when the archive is
// out of reach it says so through warn and returns the newest kernel it has.
func Fetch(ctx context.Context, k Kernel, warn func(string)) (Image, error) {
	cache, err := cacheDir()
	if err != nil {
		return Image{}, err
	}
	unlock, err := lock(cache)
	if err != nil {
		return Image{}, err
	}
	defer unlock()

	// Rows that differ only in their boot arguments share a kernel.
	record := filepath.Join(cache, "kernels", k.Series+"-"+k.Architecture()+".json")
	var known Image
	have := readJSON(record, &known) == nil
	known.dir = imageDir(cache, known)
	if _, err := os.Stat(known.Vmlinuz()); err != nil {
		have = false
	}
	if have && time.Since(known.Resolved) < fresh {
		return known, nil
	}
	image, err := fetchNewest(ctx, cache, k, warn)
	if err == nil {
		return image, writeJSON(record, image)
	}
	if have && ctx.Err() == nil {
		warn(fmt.Sprintf("fetch kernel %s: %v; going on with %s from the cache", k.Name, err, known.Release))
		known.Resolved = time.Now().Add(backoff - fresh)
		return known, writeJSON(record, known)
	}
	return Image{}, fmt.Errorf("fetch kernel %s: %w", k.Name, err)
}

func imageDir(cache string, i Image) string {
	return filepath.Join(cache, "kernels", i.Release+"_"+i.Version)
}

func fetchNewest(ctx context.Context, cache string, k Kernel, warn func(string)) (Image, error) {
	pattern, err := regexp.Compile(k.Package)
	if err != nil {
		return Image{}, err
	}
	a, err := openUpdated(ctx, cache, k.Architecture(), k.Suites, warn)
	if err != nil {
		return Image{}, err
	}
	names, err := a.names(ctx, "linux-")
	if err != nil {
		return Image{}, err
	}
	name := newest(names, pattern)
	if name == "" {
		return Image{}, fmt.Errorf("no package of %v matches %s; the suites may have moved on: correct internal/vmtest/kernels.go", k.Suites, k.Package)
	}
	fields, err := a.show(ctx, name)
	if err != nil {
		return Image{}, err
	}
	image := Image{
		Release:  strings.TrimPrefix(name, "linux-image-"),
		Version:  fields["Version"],
		Resolved: time.Now(),
	}
	image.dir = imageDir(cache, image)
	if _, err := os.Stat(image.Vmlinuz()); err == nil {
		return image, nil
	}
	packages := []string{name + "=" + image.Version}
	for _, part := range kernelParts(fields["Depends"], image) {
		// The archive may have let go of linux-base before the image, which then is whole.
		if part, _, _ := strings.Cut(part, "="); !slices.Contains(names, part) {
			warn(fmt.Sprintf("fetch kernel %s: the archive has no %s any more; going on without", k.Name, part))
			continue
		}
		packages = append(packages, part)
	}
	return image, publish(image.dir, func(tmp string) error { return a.extractKernel(ctx, tmp, image, packages) })
}

// kernelParts finds the packages that a kernel image is split into: since 7.x the image package itself is empty.
func kernelParts(depends string, image Image) []string {
	var parts []string
	for dep := range strings.SplitSeq(depends, ",") {
		name, _, _ := strings.Cut(strings.TrimSpace(dep), " ")
		for _, prefix := range []string{"linux-binary-", "linux-modules-", "linux-base-"} {
			if name == prefix+image.Release {
				parts = append(parts, name+"="+image.Version)
			}
		}
	}
	return parts
}

func (a *archive) extractKernel(ctx context.Context, tmp string, image Image, packages []string) error {
	debs := filepath.Join(tmp, "debs")
	if err := os.MkdirAll(debs, 0o755); err != nil {
		return err
	}
	if _, err := a.run(ctx, debs, "apt-get", append([]string{"-q", "download"}, packages...)...); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(debs, "*.deb"))
	if err != nil {
		return err
	}
	for _, file := range files {
		if _, err := command(ctx, "", nil, "dpkg-deb", "-x", file, tmp); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(debs); err != nil {
		return err
	}
	for _, place := range []string{
		filepath.Join(tmp, "boot", "vmlinuz-"+image.Release),
		filepath.Join(tmp, "usr", "lib", "modules", image.Release, "vmlinuz"),
	} {
		if err := os.Rename(place, filepath.Join(tmp, "vmlinuz")); err == nil {
			return nil
		}
	}
	return errors.New("the packages hold no vmlinuz where it is expected; Debian may have moved it: correct internal/vmtest/fetch.go")
}
