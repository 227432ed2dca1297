package vmtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// openUpdated opens the archive with current indexes. When the updates or the security fixes of a suite are no longer
// served, as happens at a release's end of life, the suite itself has to do.
func openUpdated(ctx context.Context, cache, arch string, suites []string, warn func(string)) (*archive, error) {
	a, err := openSigned(ctx, cache, arch, suites)
	if err == nil || ctx.Err() != nil {
		return a, err
	}
	base := slices.DeleteFunc(slices.Clone(suites), func(s string) bool {
		return strings.HasSuffix(s, "-security") || strings.HasSuffix(s, "-updates")
	})
	if len(base) == 0 || len(base) == len(suites) {
		return nil, err
	}
	a, baseErr := openSigned(ctx, cache, arch, base)
	if baseErr != nil {
		return nil, err
	}
	warn(fmt.Sprintf("%v; going on with %v alone", err, base))
	return a, nil
}

// openSigned reads the indexes. When a suite is signed by a key that this machine does not know yet, it takes Debian's
// keyring package out of suites that do verify, and tries once more: no index is used without a valid signature.
func openSigned(ctx context.Context, cache, arch string, suites []string) (*archive, error) {
	a, err := openArchive(ctx, cache, arch, suites)
	if err != nil {
		return nil, err
	}
	err = a.update(ctx)
	if err == nil || !strings.Contains(err.Error(), "NO_PUBKEY") {
		return a, err
	}
	if err := fetchKeyring(ctx, cache); err != nil {
		return nil, fmt.Errorf("get newer archive keys: %w; run `apt-get install --only-upgrade %s`", err, keyringPackage)
	}
	if a, err = openArchive(ctx, cache, arch, suites); err != nil {
		return nil, err
	}
	return a, a.update(ctx)
}

// keyringSuites are old enough for any machine to verify and new enough to carry the keys of later releases.
var keyringSuites = []string{"bookworm", "bookworm-updates"}

func fetchKeyring(ctx context.Context, cache string) error {
	a, err := openArchive(ctx, cache, runtime.GOARCH, keyringSuites)
	if err != nil {
		return err
	}
	if err := a.update(ctx); err != nil {
		return err
	}
	return publish(filepath.Join(cache, "keyring", keyringPackage+".gpg"), func(tmp string) error {
		dir, err := os.MkdirTemp("", "ebpfguard-keyring-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		if _, err := a.run(ctx, dir, "apt-get", "-q", "download", keyringPackage); err != nil {
			return err
		}
		debs, err := filepath.Glob(filepath.Join(dir, "*.deb"))
		if err != nil || len(debs) != 1 {
			return fmt.Errorf("download %s: got %v", keyringPackage, debs)
		}
		if _, err := command(ctx, "", nil, "dpkg-deb", "-x", debs[0], dir); err != nil {
			return err
		}
		raw, err := os.ReadFile(filepath.Join(dir, hostKeyring))
		if err != nil {
			return err
		}
		return os.WriteFile(tmp, raw, 0o644)
	})
}
