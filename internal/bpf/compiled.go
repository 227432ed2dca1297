package bpf

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"github.com/cilium/ebpf"
)

// compiled is an object as the compiler made it. To read all of its programs takes 65 MB for a moment, since each
// comes with a copy of every function that it calls; few are needed at a time.
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
	object, err := hide(c.bytes, func(i int, s *elf.Section) bool { return s.Name != text && !wanted[i] })
	if err != nil {
		return nil, err
	}
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(object))
	if err != nil {
		return nil, fmt.Errorf("reading the compiled programs: %w", err)
	}
	for name := range spec.Programs { // a section may have several
		if !slices.Contains(programs, name) {
			delete(spec.Programs, name)
		}
	}
	return spec, nil
}

// hide returns a copy of an object in which sections of code are none, so that the library passes over them.
func hide(object []byte, hidden func(i int, s *elf.Section) bool) ([]byte, error) {
	object = bytes.Clone(object)
	f, err := elf.NewFile(bytes.NewReader(object))
	if err != nil {
		return nil, fmt.Errorf("reading the compiled programs: %w", err)
	}
	const flags, shoff = 8, 0x28 // their places in struct Elf64_Shdr and Elf64_Ehdr, elf(5)
	headers := object[f.ByteOrder.Uint64(object[shoff:]):]
	for i, s := range f.Sections {
		if s.Flags&elf.SHF_EXECINSTR != 0 && hidden(i, s) {
			at := headers[i*binary.Size(elf.Section64{})+flags:]
			f.ByteOrder.PutUint64(at, uint64(s.Flags&^elf.SHF_EXECINSTR))
		}
	}
	return object, nil
}
