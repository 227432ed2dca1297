//go:build !linux

package journald

import "errors"

// writeFile is for Linux, as journald is; see file_linux.go.
func (*Sink) writeFile([]byte) error { return errors.ErrUnsupported }
