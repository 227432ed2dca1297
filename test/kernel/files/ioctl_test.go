//go:build vm

package files

import (
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// testIoctl calls the ioctls of filesystems that change a file through a descriptor for
// reading. This one's filesystem knows few of them; the guard is asked before it.
func testIoctl(t *testing.T, g *guardtest.FileGuard) {
	f := guardtest.NewPair(t)
	secret := guardtest.WriteFile(t, f.Dir+"/secret", "")
	public := guardtest.WriteFile(t, f.Dir+"/public", "")
	g.Enforce(t, guardtest.FilePolicy("test", f.Subject, policy.Rule{Deny: []policy.Pattern{
		policy.FilePattern{Paths: []string{secret, f.Dir + "/tree/"}, Access: policy.Write},
	}}))
	guardtest.Check(t, os.Mkdir(f.Dir+"/tree", 0o755))
	passed := func(d *guardtest.Doer, path string, cmd int) {
		t.Helper()
		if o := d.Do("ioctl", path, strconv.Itoa(cmd)); o.Errno == unix.EPERM {
			t.Errorf("ioctl %#x on %s: %v", cmd, path, o)
		}
	}
	for name, cmd := range map[string]int{
		"FS_IOC_SETFLAGS": 0x40086602, "FS_IOC32_SETFLAGS": 0x40046602, "FS_IOC_FSSETXATTR": 0x401c5820, "FS_IOC_SETVERSION": 0x40087602,
		"FS_IOC_ENABLE_VERITY": 0x40806685, "FS_IOC_SET_ENCRYPTION_POLICY": 0x800c6613, "FS_IOC_ADD_ENCRYPTION_KEY": 0xc0506617,
		"FS_IOC_REMOVE_ENCRYPTION_KEY": 0xc0406618, "FAT_IOCTL_SET_ATTRIBUTES": 0x40047211, "EXT4_IOC_SHUTDOWN": 0x8004587d,
		"EXT4_IOC_SETVERSION": 0x40086604, "EXT4_IOC_MIGRATE": 0x6609, "EXT4_IOC_MOVE_EXT": 0xc028660f, "EXT4_IOC_SWAP_BOOT": 0x6611,
		"XFS_IOC_SWAPEXT": 0xc0c0586d, "XFS_IOC_EXCHANGE_RANGE": 0x40285881, "F2FS_IOC_START_ATOMIC_WRITE": 0xf501,
		"F2FS_IOC_SET_PIN_FILE": 0x4004f50d, "F2FS_IOC_RELEASE_COMPRESS_BLOCKS": 0x8008f512, "BTRFS_IOC_SUBVOL_CREATE": 0x5000940e,
		"BTRFS_IOC_SNAP_DESTROY": 0x5000940f, "BTRFS_IOC_SUBVOL_SETFLAGS": 0x4008941a, "BTRFS_IOC_DEFRAG": 0x50009402,
	} {
		t.Run(name, func(t *testing.T) {
			for _, path := range []string{secret, f.Dir + "/tree"} {
				if alert := g.Refused(t, f.Actor, "ioctl", path, strconv.Itoa(cmd)); alert.Hook != "file_ioctl" || alert.Access != policy.Write || alert.Path != path {
					t.Errorf("alert %v", alert)
				}
			}
			passed(f.Other, secret, cmd)
			passed(f.Actor, public, cmd)
		})
	}
	for name, cmd := range map[string]int{
		"BTRFS_IOC_SNAP_CREATE_V2": 0x50009417, "BTRFS_IOC_SNAP_CREATE": 0x50009401, "BTRFS_IOC_SEND": 0x40489426, "XFS_IOC_ATTRMULTI_BY_HANDLE": 0x4048587b,
	} {
		t.Run(name+", of any file", func(t *testing.T) {
			g.Undecided(t, f.Actor, "ioctl", public, strconv.Itoa(cmd))
			passed(f.Other, public, cmd)
		})
	}
	for name, cmd := range map[string]int{
		"FS_IOC_GETFLAGS": 0x80086601, "FS_IOC_FSGETXATTR": 0x801c581f, "FS_IOC_GETVERSION": 0x80087601, "FIONREAD": 0x541b, "FIGETBSZ": 2,
		"FS_IOC_GETFSLABEL": 0x81009431, "FICLONE of no file": 0x40049409,
	} {
		t.Run(name+" changes nothing", func(t *testing.T) { passed(f.Actor, secret, cmd) })
	}
}
