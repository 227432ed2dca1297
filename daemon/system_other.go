//go:build !linux

package daemon

import (
	"fmt"
	"os"
)

// fileState tells what the system can; the daemon runs on Linux only.
func fileState(path string) string {
	s, err := os.Stat(path)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(s.Size(), s.ModTime())
}
