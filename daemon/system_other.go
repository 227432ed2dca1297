//go:build !linux

package daemon

import (
	"fmt"
	"os"
)

// fileState is as good as the system allows; the daemon runs on Linux only.
func fileState(path string) string {
	s, err := os.Stat(path)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(s.Size(), s.ModTime())
}
