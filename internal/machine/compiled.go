package machine

import (
	"debug/elf"
	"io"

	"github.com/ebpfguard/ebpfguard/internal/regular"
)

// IsCompiled reports whether a path leads to a program of machine code. What cannot be
// read may be a script.
func IsCompiled(path string) bool {
	file, err := regular.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	start := make([]byte, len(elf.ELFMAG))
	_, err = io.ReadFull(file, start)
	return err == nil && string(start) == elf.ELFMAG
}
