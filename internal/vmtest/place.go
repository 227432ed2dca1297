package vmtest

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Root returns the folder of the checkout that the folder is in: the one that has go.work. It is empty outside one.
func Root(dir string) string {
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			return ""
		}
		dir = filepath.Dir(dir)
	}
}

// GuestDir returns where a program of that folder works in the guest: at the same path below /src as below the
// checkout on the host, so that relative paths to added files hold.
func GuestDir(dir string) string {
	root := Root(dir)
	if root == "" {
		return "/src"
	}
	rel, err := filepath.Rel(root, dir)
	if err != nil {
		return "/src"
	}
	return path.Join("/src", filepath.ToSlash(rel))
}

// Testdata returns the folder's testdata and where it belongs in the guest, if there is one.
func Testdata(dir string) map[string]string {
	testdata := filepath.Join(dir, "testdata")
	if info, err := os.Stat(testdata); err != nil || !info.IsDir() {
		return nil
	}
	return map[string]string{path.Join(GuestDir(dir), "testdata"): testdata}
}

// Files reads pairs of HOST:GUEST.
func Files(pairs []string) (map[string]string, error) {
	files := make(map[string]string)
	for _, pair := range pairs {
		host, guest, ok := strings.Cut(pair, ":")
		if !ok || host == "" || !path.IsAbs(guest) {
			return nil, fmt.Errorf("add %s: give HOST:GUEST, the guest's path being absolute", pair)
		}
		files[guest] = host
	}
	return files, nil
}
