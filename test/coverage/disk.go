package coverage

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	diskSize  = 32 << 20
	diskLoop  = "/dev/loop7"
	loopMajor = 7
)

// mountDisk makes an ext4 file system in a file on the tmpfs and mounts it. Its dentries can be dropped, its handles
// outlive them, and a block device may be mounted twice: a tmpfs has none of that.
func mountDisk(root string) (string, error) {
	image, dir := filepath.Join(root, "disk.img"), filepath.Join(root, "disk")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		return "", err
	}
	if err := os.Truncate(image, diskSize); err != nil {
		return "", err
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-E", "lazy_itable_init=1,nodiscard", image).CombinedOutput(); err != nil {
		return "", fmt.Errorf("mkfs.ext4: %w: %s", err, out)
	}
	if err := attachLoop(diskLoop, image); err != nil {
		return "", err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	return dir, unix.Mount(diskLoop, dir, "ext4", 0, "")
}

func attachLoop(device, image string) error {
	if err := unix.Mknod(device, unix.S_IFBLK|0o600, loopMajor<<8|int(device[len(device)-1]-'0')); err != nil && err != unix.EEXIST {
		return fmt.Errorf("mknod %s: %w", device, err)
	}
	loop, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer loop.Close()
	f, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.IoctlSetInt(int(loop.Fd()), unix.LOOP_SET_FD, int(f.Fd())); err != nil {
		return fmt.Errorf("attach %s: %w", device, err)
	}
	return nil
}

func detachDisk(root string) {
	unix.Unmount(filepath.Join(root, "disk"), unix.MNT_DETACH)
	if f, err := os.Open(diskLoop); err == nil {
		unix.IoctlSetInt(int(f.Fd()), unix.LOOP_CLR_FD, 0)
		f.Close()
	}
}
