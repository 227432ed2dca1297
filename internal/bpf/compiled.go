package bpf

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// compiled is an object as the compiler made it. To read all of its programs takes 65 MB for a moment, since each
// comes with a copy of every function that it calls; few are needed at a time. Where each instruction comes from in
// the source takes half of the object: it is read only to tell why the kernel refuses a program.
type compiled struct {
	bytes    []byte
	sections func() (map[string]int, error)
}

var (
	guard = compiled{_GuardBytes, sync.OnceValues(func() (map[string]int, error) { return sectionsOf(_GuardBytes) })}
	older = compiled{_OlderBytes, sync.OnceValues(func() (map[string]int, error) { return sectionsOf(_OlderBytes) })}
)

// text is the section of the functions that programs call.
const text = ".text"

// sectionsOf returns the numbers of the sections that programs are in, by the programs' names.
func sectionsOf(object []byte) (map[string]int, error) {
	f, err := elf.NewFile(bytes.NewReader(object))
	if err != nil {
		return nil, fmt.Errorf("reading the compiled programs: %w", err)
	}
	symbols, err := f.Symbols()
	if err != nil {
		return nil, fmt.Errorf("reading the symbols of the compiled programs: %w", err)
	}
	sections := map[string]int{}
	for _, s := range symbols {
		i := int(s.Section)
		if elf.ST_TYPE(s.Info) == elf.STT_FUNC && i < len(f.Sections) && f.Sections[i].Name != text {
			sections[s.Name] = i
		}
	}
	return sections, nil
}

// read returns the maps, the variables and the named programs only.
func (c compiled) read(programs ...string) (*ebpf.CollectionSpec, error) {
	return c.readWith(false, programs...)
}

// readWith is read, also with the lines of the source on demand.
func (c compiled) readWith(lines bool, programs ...string) (*ebpf.CollectionSpec, error) {
	sections, err := c.sections()
	if err != nil {
		return nil, err
	}
	wanted := map[int]bool{}
	for _, name := range programs {
		i, ok := sections[name]
		if !ok {
			return nil, fmt.Errorf("no program is called %s", name)
		}
		wanted[i] = true
	}
	object, err := patch(c.bytes, lines, func(i int, s *elf.Section) bool { return s.Name == text || wanted[i] })
	if err != nil {
		return nil, fmt.Errorf("reading the compiled programs: %w", err)
	}
	spec, err := ebpf.LoadCollectionSpecFromReader(object)
	if err != nil {
		return nil, fmt.Errorf("reading the compiled programs: %w", err)
	}
	for name, program := range spec.Programs { // a section may have several
		if !slices.Contains(programs, name) {
			delete(spec.Programs, name)
			continue
		}
		pointAtValues(program.Instructions)
		if !lines {
			nameFunctions(program.Instructions)
		}
	}
	return spec, nil
}

// pointAtValues makes the addresses of maps with a single value, which programs do not look up, those of the value
// (bpf/maps.h, VALUE_OF).
func pointAtValues(instructions asm.Instructions) {
	for i := range instructions {
		if name := instructions[i].Reference(); instructions[i].IsLoadFromMap() && (name == GuardMapActive || name == GuardMapWords) {
			instructions[i].Src = asm.PseudoMapValue
		}
	}
}

// nameFunctions makes the name of each function its line in the source: where the library tells of an instruction
// that it belongs to another kernel, which it does as a line, the kernel wants one of each function, too.
func nameFunctions(instructions asm.Instructions) {
	for i := range instructions {
		if f := btf.FuncMetadata(&instructions[i]); f != nil {
			instructions[i] = instructions[i].WithSource(asm.Comment(f.Name))
		}
	}
}

// patched is an object some of whose bytes are others.
type patched struct {
	object  []byte
	patches []bytesAt
}

type bytesAt struct {
	at    int
	bytes []byte
}

func (p patched) ReadAt(to []byte, offset int64) (int, error) {
	if offset >= int64(len(p.object)) {
		return 0, io.EOF
	}
	from := int(offset)
	n := copy(to, p.object[from:])
	for _, patch := range p.patches {
		first, end := max(from, patch.at), min(from+n, patch.at+len(patch.bytes))
		if first < end {
			copy(to[first-from:end-from], patch.bytes[first-patch.at:])
		}
	}
	if n < len(to) {
		return n, io.EOF
	}
	return n, nil
}

// patch returns an object in which sections of code that are not wanted are none, so that the library passes over
// them, and in which there are no lines of the source unless these are wanted.
func patch(object []byte, lines bool, wanted func(i int, s *elf.Section) bool) (patched, error) {
	f, err := elf.NewFile(bytes.NewReader(object))
	if err != nil {
		return patched{}, err
	}
	const flags, shoff = 8, 0x28 // their places in struct Elf64_Shdr and Elf64_Ehdr, elf(5)
	at := int(f.ByteOrder.Uint64(object[shoff:]))
	headers := bytesAt{at, bytes.Clone(object[at : at+len(f.Sections)*binary.Size(elf.Section64{})])}
	result := patched{object, []bytesAt{headers}}
	for i, s := range f.Sections {
		if s.Flags&elf.SHF_EXECINSTR != 0 && !wanted(i, s) {
			at := headers.bytes[i*binary.Size(elf.Section64{})+flags:]
			f.ByteOrder.PutUint64(at, uint64(s.Flags&^elf.SHF_EXECINSTR))
		}
		if s.Name == ".BTF.ext" && !lines {
			// The place of line_info_len in struct btf_ext_header. What is left says how long a record is.
			const length, left = 20, 4
			patch := bytesAt{int(s.Offset) + length, make([]byte, 4)}
			f.ByteOrder.PutUint32(patch.bytes, left)
			result.patches = append(result.patches, patch)
		}
	}
	return result, nil
}
