package compile

import (
	"net/netip"
	"unsafe"

	"github.com/ebpfguard/ebpfguard/internal/bpf"
	"github.com/ebpfguard/ebpfguard/policy"
)

// machine reads a generation as the kernel programs do (bpf/tables.h,
// bpf/socket.h), so that the tables can be tested without a kernel. The
// programs themselves are compared with policy.Decide in real kernels.
type machine struct {
	words []uint32
}

func newMachine(g *Generation) machine {
	var m machine
	for _, l := range g.Lines {
		m.words = append(m.words, l.Words[:]...)
	}
	return m
}

func (m machine) generation() *bpf.Generation {
	return (*bpf.Generation)(unsafe.Pointer(&m.words[0]))
}

func (m machine) operation(id int) *bpf.Operation {
	return (*bpf.Operation)(unsafe.Pointer(&m.words[id*bpf.LineWords]))
}

// search returns the index of the last entry that is not greater than the key.
func (m machine) search(at, count, size uint32, key ...uint32) int {
	found := -1
	for i := range int(count) {
		entry := m.words[at+uint32(i)*size:]
		for j, k := range key {
			if entry[j] > k {
				return found
			}
			if entry[j] < k {
				break
			}
		}
		found = i
	}
	return found
}

func (m machine) class(key ...uint64) uint32 {
	g := m.generation()
	result, found := g.Everyone, false
	for _, k := range key {
		i := m.search(g.Subjects, g.SubjectCount, 4, uint32(k>>32), uint32(k))
		if i < 0 {
			continue
		}
		entry := m.words[g.Subjects+uint32(i)*4:]
		if entry[0] != uint32(k>>32) || entry[1] != uint32(k) {
			continue
		}
		if found && result != entry[2] {
			return g.Unknown
		}
		result, found = entry[2], true
	}
	return result
}

func (m machine) judge(class uint32, s policy.Socket) bpf.Verdict {
	op := m.operation(bpf.OperationSocketBind)
	if op.Rows == 0 {
		return bpf.NewVerdict(uint8(policy.Allow), -1, false, false)
	}
	row := m.words[op.Rows+class]
	port := bpf.NoPort
	if s.Protocol.HasPorts() {
		port = uint32(s.Port)
	}
	protocol := m.words[op.Protocols+uint32(s.Protocol)]
	cell := func(address, port uint32) bpf.Verdict {
		at := row
		at = at*op.AddressClasses + address
		at = at*op.PortClasses + port
		at = at*op.ProtocolClasses + protocol
		return bpf.Verdict(m.words[op.Verdicts+at])
	}
	judge := func(address uint32) bpf.Verdict {
		i := m.search(op.Ports, op.PortCount, 2, port)
		v := cell(address, m.words[op.Ports+uint32(i)*2+1])
		if port != 0 || v&1 == 0 {
			return v
		}
		for i := m.search(op.Ports, op.PortCount, 2, uint32(s.Automatic.First)); i < int(op.PortCount); i++ {
			start, class := m.words[op.Ports+uint32(i)*2], m.words[op.Ports+uint32(i)*2+1]
			if start > uint32(s.Automatic.Last) {
				break
			}
			v = max(v, cell(address, class))
		}
		return v
	}
	judge4 := func(a netip.Addr) bpf.Verdict {
		i := m.search(op.Addresses4, op.Address4Count, 2, word(a.AsSlice()))
		return judge(m.words[op.Addresses4+uint32(i)*2+1])
	}
	address := s.Address.Unmap()
	if address.Is4() {
		return judge4(address)
	}
	b := address.AsSlice()
	i := m.search(op.Addresses6, op.Address6Count, 8, word(b), word(b[4:]), word(b[8:]), word(b[12:]))
	v := judge(m.words[op.Addresses6+uint32(i)*8+4])
	if s.DualStack && address.IsUnspecified() {
		v = max(v, judge4(netip.IPv4Unspecified()))
	}
	return v
}
