package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// checkModes returns which of the policy directory, its files, and the folders above may be changed by
// others than root and the daemon's user, as sshd's StrictModes does: who can, decides what is
// enforced. Below a folder that only root may enter modes do not matter.
func checkModes(dir string) error {
	if dir == "" {
		return nil
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil //nolint:nilerr // reading it says so
	}
	if hidden(filepath.Dir(real)) {
		return nil
	}
	var errs []error
	for above := filepath.Dir(real); ; above = filepath.Dir(above) {
		errs = append(errs, checkMode(above, true))
		if above == filepath.Dir(above) {
			break
		}
	}
	errs = append(errs, checkMode(real, false))
	files, _ := policyFiles(real)
	for _, file := range files {
		target, err := filepath.EvalSymlinks(file)
		if err == nil {
			errs = append(errs, checkMode(target, false))
		}
	}
	return errors.Join(errs...)
}

// hidden reports whether only root can come to a folder.
func hidden(folder string) bool {
	for ; ; folder = filepath.Dir(folder) {
		if info, err := os.Stat(folder); err == nil && info.Mode().Perm()&0o011 == 0 && ownedByUs(info) {
			return true
		}
		if folder == filepath.Dir(folder) {
			return false
		}
	}
}

// checkMode reports whether others may change a file or folder. In a folder above with the sticky bit
// nobody may rename what belongs to others.
func checkMode(path string, above bool) error {
	info, err := os.Stat(path)
	if err != nil {
		return nil //nolint:nilerr // it was removed meanwhile, or reading it says so
	}
	mode := info.Mode()
	writers := fs.FileMode(0o022)
	uid, gid, known := owner(info)
	if known && gid == 0 {
		writers = 0o002
	}
	loose := mode.Perm()&writers != 0 && (!above || mode&fs.ModeSticky == 0)
	if ownedByUs(info) && !loose {
		return nil
	}
	whose := ""
	if known {
		whose = fmt.Sprintf(" of user %d and group %d", uid, gid)
	}
	return fmt.Errorf("others than root may change %s (mode %04o%s), and so what is enforced; run chown root %s and chmod go-w %s", path, mode.Perm(), whose, path, path)
}

func ownedByUs(info fs.FileInfo) bool {
	uid, _, known := owner(info)
	return known && (uid == 0 || int(uid) == os.Geteuid())
}
