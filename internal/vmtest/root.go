package vmtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	// rootFormat changes whenever makeRoot makes something else of the same packages.
	rootFormat = "2"
	// rootFresh is how long a root file system does without newer packages: making one takes a minute.
	rootFresh = 30 * 24 * time.Hour
	// rootSpace is what a run may write.
	rootSpace = 384 << 20
)

// ArchiveFolder is where a root file system has the files of [Config.Archives].
const ArchiveFolder = "/srv/archives"

// rootModules are what the guest's init needs to reach its disk, where they are not built in.
var rootModules = []string{"virtio_pci?", "virtio_blk?", "ext4?"}

// rootArguments spare the boot what waits for a terminal that nobody sits at, and what a first boot asks.
const rootArguments = "systemd.getty_auto=no systemd.firstboot=no systemd.wants=vmtest.service systemd.show_status=no"

// fetchRoot returns an image with a Debian root file system: the essential packages, systemd as init, and the named
// ones, installed as apt installs them; of archives it has the files only. Nobody writes to the image; a run has a layer of its own above it.
func fetchRoot(ctx context.Context, names, archives []string, warn func(string)) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	unlock, err := lock(cache)
	if err != nil {
		return "", err
	}
	defer unlock()

	names = slices.Compact(slices.Sorted(slices.Values(append([]string{"systemd-sysv"}, names...))))
	of := append([]string{rootFormat, guestSuites[0]}, names...)
	if len(archives) > 0 {
		of = append(append(of, "archives"), archives...)
	}
	path := filepath.Join(cache, "roots", digest(of)+".ext2")
	info, err := os.Stat(path)
	have := err == nil
	if have && time.Since(info.ModTime()) < rootFresh {
		return path, nil
	}
	err = publish(path, func(tmp string) error { return makeRoot(ctx, cache, tmp, names, archives, warn) })
	if err == nil {
		return path, nil
	}
	if have && ctx.Err() == nil {
		warn(fmt.Sprintf("make a root file system with %v: %v; going on with the one in the cache", names, err))
		later := time.Now().Add(backoff - rootFresh)
		return path, os.Chtimes(path, later, later)
	}
	return "", fmt.Errorf("make a root file system with %v: %w", names, err)
}

func makeRoot(ctx context.Context, cache, path string, names, archives []string, warn func(string)) error {
	warn("making a root file system with systemd; it is kept in the cache")
	a, err := openUpdated(ctx, cache, "amd64", guestSuites, warn)
	if err != nil {
		return err
	}
	settings, err := machineSettings(ctx)
	if err != nil {
		return err
	}
	// mmdebstrap runs an apt of its own, from which the machine's mirror and keys must not differ.
	options := filepath.Join(a.dir, "root.conf")
	if err := os.WriteFile(options, []byte(settings+"APT::Install-Recommends \"false\";\n"), 0o644); err != nil {
		return err
	}
	arguments := []string{"--quiet", "--variant=essential", "--format=ext2",
		"--include=" + strings.Join(names, ","), "--aptopt=" + options,
		"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/locale/*", "--dpkgopt=path-exclude=/usr/share/man/*"}
	if len(archives) > 0 {
		// By apt of the host with the settings that mmdebstrap has made for it.
		folder := `"$1"` + ArchiveFolder
		arguments = append(arguments, "--customize-hook=mkdir -p "+folder+`/partial && APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get -y -qq `+
			`--download-only -o Dir::Cache::archives=`+folder+" install "+strings.Join(archives, " "))
	}
	// What a test installs later has all its files.
	arguments = append(arguments, `--customize-hook=rm "$1"/etc/dpkg/dpkg.cfg.d/99mmdebstrap`,
		guestSuites[0], path, filepath.Join(a.dir, "sources.list"))
	// The hooks of the packages get no terminal and no service starts: mmdebstrap sees to both.
	_, err = command(ctx, "", nil, "mmdebstrap", arguments...)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	// The image has no room left, and the new space costs nothing until it is written.
	if err := os.Truncate(path, info.Size()+rootSpace); err != nil {
		return err
	}
	_, err = command(ctx, "", nil, "resize2fs", "-f", path)
	return err
}
