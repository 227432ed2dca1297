//go:build !linux

package lockout

// identify knows no file: the daemon enforces on Linux only.
func identify(string) (identity, bool) { return identity{}, false }
