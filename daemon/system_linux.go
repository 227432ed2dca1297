package daemon

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// fileState returns a text that is another one when a file was replaced or changed.
func fileState(path string) string {
	var s unix.Stat_t
	if err := unix.Stat(path, &s); err != nil {
		return err.Error()
	}
	return fmt.Sprint(s.Dev, s.Ino, s.Size, s.Mtim.Nano(), s.Ctim.Nano())
}
