package vmtest

import (
	"context"
	"fmt"
	"os"
)

// MakeDisk makes an image for [Config.Disk] with what a folder holds. It has that many MiB, which cost nothing until they
// are written. Its files belong to whoever owns those in the folder.
func MakeDisk(ctx context.Context, image, tree string, mib int64) error {
	f, err := os.Create(image)
	if err == nil {
		err = f.Truncate(mib << 20)
	}
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		_, err = command(ctx, "", nil, "mke2fs", "-q", "-t", "ext4", "-E", "root_owner=0:0,lazy_itable_init=1,nodiscard", "-d", tree, image)
	}
	if err != nil {
		return fmt.Errorf("make a disk of %s: %w", tree, err)
	}
	return nil
}
