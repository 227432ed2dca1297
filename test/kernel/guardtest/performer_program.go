//go:build vm

package guardtest

import (
	"bytes"
	"encoding/binary"
)

// performerText, in a file for each architecture, is this program:
//
//	    mmap(performerAt, performerSize, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_FIXED, performerFD, 0)
//	wait:
//	    while wanted == done: futex(&wanted, FUTEX_WAIT, done)
//	    for call := &calls[0]; call.number >= 0; call++ {
//	        call.result = syscall(call.number, call.args...)
//	        if call.result > 0: call += call.skip
//	    }
//	    done++
//	    futex(&done, FUTEX_WAKE, 1)
//	    goto wait

// PerformerProgram returns the program as an ELF file of one page.
func PerformerProgram() []byte {
	const base, headers = 0x400000, 64 + 56
	var b bytes.Buffer
	b.WriteString("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	for _, v := range []any{
		uint16(2), performerMachine, uint32(1), uint64(base + headers), uint64(64), uint64(0), uint32(0), // ET_EXEC
		uint16(64), uint16(56), uint16(1), uint16(64), uint16(0), uint16(0),
		uint32(1), uint32(5), uint64(0), uint64(base), uint64(base), uint64(4096), uint64(4096), uint64(4096), // PT_LOAD
	} {
		binary.Write(&b, binary.LittleEndian, v)
	}
	b.Write(performerText)
	return append(b.Bytes(), make([]byte, 4096-b.Len())...)
}
