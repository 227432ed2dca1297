//go:build !linux

package hostroot

import "errors"

// CgroupPath fails: there are no control groups.
func (*Root) CgroupPath(string, uint64) (string, error) { return "", errors.ErrUnsupported }

// NamespaceCgroup fails: there are no control groups.
func (*Root) NamespaceCgroup() (string, error) { return "", errors.ErrUnsupported }
