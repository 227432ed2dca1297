package vmtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// programSuites are where programs come from that the host runs itself: those of the current Debian.
var programSuites = []string{"trixie", "trixie-updates", "trixie-security"}

// FetchPrograms returns a folder in the cache with the files of Debian packages, as they lie below / in them. What they
// depend on is not there: it is for programs that need the C library at most. What the cache has stays as it is: a test
// wants such a program, not its newest version.
func FetchPrograms(ctx context.Context, arch string, names []string, warn func(string)) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	unlock, err := lock(cache)
	if err != nil {
		return "", err
	}
	defer unlock()
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	path := filepath.Join(cache, "programs", digest(append([]string{arch, programSuites[0]}, names...)))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	err = publish(path, func(tmp string) error { return extractPrograms(ctx, cache, arch, tmp, names, warn) })
	if err != nil {
		return "", fmt.Errorf("fetch the programs of %v: %w", names, err)
	}
	return path, nil
}

func extractPrograms(ctx context.Context, cache, arch, tmp string, names []string, warn func(string)) error {
	a, err := openUpdated(ctx, cache, arch, programSuites, warn)
	if err != nil {
		return err
	}
	debs, err := os.MkdirTemp("", "ebpfguard-debs-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(debs)
	if _, err := a.run(ctx, debs, "apt-get", append([]string{"-q", "download"}, names...)...); err != nil {
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
	return nil
}
