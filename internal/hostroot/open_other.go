//go:build !linux

package hostroot

import (
	"errors"
	"io/fs"
	"os"
)

// Elsewhere than on Linux there is no other root than that of this process.

var errTooManyLinks = errors.ErrUnsupported

func openRoot(string) (*os.File, error)                { return nil, errors.ErrUnsupported }
func (r *Root) open(string, int) (*os.File, error)     { return nil, errors.ErrUnsupported }
func (r *Root) stat(string, bool) (fs.FileInfo, error) { return nil, errors.ErrUnsupported }
func (r *Root) readlink(string) (string, error)        { return "", errors.ErrUnsupported }
