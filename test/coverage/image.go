package coverage

import (
	"bytes"
	"encoding/binary"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// program returns a whole program of one page that makes the system call nr, subtracts want from its result, adds done
// and exits with that: getpid's kin tell so whether an exec gave the id it should have. It starts in microseconds, where
// a Go program takes an emulated machine tens of milliseconds.
func program(nr, want uint32) []byte { return image(nr, want, "") }

// exits is a program that exits with done.
func exits() []byte { return program(unix.SYS_SCHED_YIELD, 0) }

// image is program with an ELF interpreter, if interp names one.
func image(nr, want uint32, interp string) []byte {
	const (
		ehsize  = 64
		phsize  = 56
		ptLoad  = 1
		ptInter = 3
	)
	// An interpreter is loaded beside the program, so they must not want the same place.
	segments, base := 1, uint64(0x400000)
	if interp != "" {
		segments, base = 2, 0x800000
	}
	var text []byte
	var machine uint16
	switch runtime.GOARCH {
	case "amd64":
		machine = 62
		text = append(text, 0x31, 0xff)                                         // xor edi, edi
		text = binary.LittleEndian.AppendUint32(append(text, 0xb8), nr)         // mov eax, nr
		text = append(text, 0x0f, 0x05, 0x89, 0xc7)                             // syscall; mov edi, eax
		text = binary.LittleEndian.AppendUint32(append(text, 0x81, 0xef), want) // sub edi, want
		text = append(text, 0x83, 0xc7, done, 0xb8, 60, 0, 0, 0, 0x0f, 0x05)    // add edi, done; exit
	case "arm64":
		machine = 183
		for _, word := range []uint32{
			0xd2800000, 0xd2800008 | nr<<5, 0xd4000001, // mov x0, 0; mov x8, nr; svc
			0xd2800001 | want<<5, 0x4b010000, 0x11000000 | done<<10, // sub w0, w0, want; add w0, w0, done
			0xd2800008 | unix.SYS_EXIT<<5, 0xd4000001,
		} {
			text = binary.LittleEndian.AppendUint32(text, word)
		}
	}
	start := uint64(ehsize + segments*phsize)
	interpAt := start + uint64(len(text))
	// A whole page: kernels before 6.10 clear what follows an interpreter's data in its last page, which must be writable then.
	const size = uint64(4096)
	var b bytes.Buffer
	b.WriteString("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	put := func(values ...any) {
		for _, v := range values {
			binary.Write(&b, binary.LittleEndian, v)
		}
	}
	put(uint16(2), machine, uint32(1), base+start, uint64(ehsize), uint64(0), uint32(0),
		uint16(ehsize), uint16(phsize), uint16(segments), uint16(64), uint16(0), uint16(0))
	if interp != "" {
		put(uint32(ptInter), uint32(4), interpAt, base+interpAt, base+interpAt, uint64(len(interp)+1), uint64(len(interp)+1), uint64(1))
	}
	put(uint32(ptLoad), uint32(5), uint64(0), uint64(base), uint64(base), size, size, uint64(0x1000))
	b.Write(text)
	b.WriteString(interp)
	return append(b.Bytes(), make([]byte, int(size)-b.Len())...)
}

// install writes a program that may be executed.
func install(path string, content []byte) error {
	if err := os.WriteFile(path, content, 0o755); err != nil {
		return err
	}
	return os.Chmod(path, 0o755)
}

// erofsImage is the smallest erofs that mounts: a superblock and an empty root.
func erofsImage() []byte {
	const superblock, root = 1024, 1152
	b := make([]byte, 8192)
	le := binary.LittleEndian
	le.PutUint32(b[superblock:], 0xe0f5e1e2)
	b[superblock+12] = 12 // the block size, as a power of two
	le.PutUint16(b[superblock+14:], root/32)
	le.PutUint64(b[superblock+16:], 1)
	le.PutUint32(b[superblock+36:], 2)
	le.PutUint16(b[root+4:], unix.S_IFDIR|0o755)
	le.PutUint16(b[root+6:], 2)
	return b
}
