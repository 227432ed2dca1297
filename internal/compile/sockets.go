package compile

import (
	"maps"
	"math"
	"net/netip"
	"slices"

	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/policy"
)

// The keys of a socket.
const (
	addressKey = iota
	portKey
	protocolKey
)

// sockets are the patterns of an operation on sockets: address, port and
// protocol.
type sockets struct {
	entries                        []entry
	addresses, ports, protocols    dimension
	addresses4, addresses6, byPort intervals
	byProtocol                     []uint32
	// every is what the unspecified addresses stand for, by their class; only
	// for socket_bind.
	every map[int]everyAddress
}

// everyAddress is what the class of an unspecified address stands for.
type everyAddress struct {
	// family has the classes of the family's addresses.
	family []bool
	// named is the specificity of a pattern that names just this address.
	named uint32
}

// prepareSockets is for socket_bind and socket_connect.
func (c *compiler) prepareSockets(name policy.Operation, entries []entry) (finish, error) {
	s := &sockets{entries: entries, every: map[int]everyAddress{}}
	for i := range entries {
		e := &entries[i]
		p := e.pattern.(policy.SocketPattern)
		e.names(addressKey, p.NamesAddresses())
		e.names(portKey, len(p.Ports) > 0)
		e.names(protocolKey, len(p.Protocols) > 0)
	}
	s.addresses = newDimension("addresses")
	bind := name == policy.SocketBind
	s.addresses4 = s.family(netip.IPv4Unspecified(), number{0, math.MaxUint32}, bind)
	s.addresses6 = s.family(netip.IPv6Unspecified(), number{math.MaxUint64, math.MaxUint64}, bind)
	s.addPorts(bind)
	s.addProtocols()
	return func(uint32) (*operation, error) {
		o := &operation{name: name, entries: entries, dimensions: []dimension{s.addresses, s.ports, s.protocols}}
		if bind {
			o.judge = s.judgeBind
		}
		o.tables.Tables[abi.TablePorts] = c.tables.appendIntervals(s.byPort)
		o.tables.Tables[abi.TableAddresses4] = c.tables.appendIntervals(s.addresses4)
		o.tables.Tables[abi.TableAddresses6] = c.tables.appendIntervals6(s.addresses6)
		o.tables.Tables[abi.TableProtocols] = abi.Table{At: c.tables.append(s.byProtocol), Count: uint32(len(s.byProtocol))}
		return o, nil
	}, nil
}

// family finds the intervals of one family of addresses. For a bind the
// unspecified address has an interval and a class of its own.
func (s *sockets) family(unspecified netip.Addr, greatest number, bind bool) intervals {
	prefixes := spans{greatest: greatest}
	for i := range s.entries {
		p := s.entries[i].pattern.(policy.SocketPattern)
		for _, list := range [][]netip.Prefix{p.Addresses, p.Listed} {
			for _, prefix := range list {
				if prefix.Addr().BitLen() == unspecified.BitLen() {
					first, last := prefixNumbers(prefix)
					prefixes.add(first, last, term{int32(i), policy.AddressSpecificity(prefix)})
				}
			}
		}
	}
	class := s.addresses.sweeper()
	if !bind {
		return prefixes.sweep(s.addresses.columns, class)
	}
	own := -1
	result := prefixes.sweep(s.addresses.columns, func(start number, column int32) uint32 {
		if start != (number{}) {
			return class(start, column)
		}
		own = len(s.addresses.classes)
		s.addresses.classes = append(s.addresses.classes, []int32{column})
		return uint32(own)
	}, number{}.next())
	every := everyAddress{
		family: make([]bool, len(s.addresses.classes)),
		named:  policy.AddressSpecificity(netip.PrefixFrom(unspecified, unspecified.BitLen())),
	}
	for i := 1; i < len(result.starts); i++ {
		// A v4-mapped address is judged as IPv4, never as IPv6.
		after := number{1, 0}
		if i+1 < len(result.starts) {
			after = result.starts[i+1]
		}
		mapped := unspecified.Is6() && result.starts[i].isMapped() && after.previous().isMapped()
		if !mapped {
			every.family[result.classes[i]] = true
		}
	}
	if own >= 0 { // else the columns are too large
		s.every[own] = every
	}
	return result
}

// isMapped reports whether an IPv6 address is a v4-mapped one.
func (n number) isMapped() bool { return n.high == 0 && n.low>>32 == 0xffff }

// prefixNumbers returns the first and last address of a prefix.
func prefixNumbers(p netip.Prefix) (first, last number) {
	first = addressNumber(p.Masked().Addr())
	last = first
	free := p.Addr().BitLen() - p.Bits()
	if free >= 64 {
		last.low = math.MaxUint64
		last.high |= 1<<(free-64) - 1
	} else {
		last.low |= 1<<free - 1
	}
	return first, last
}

// addPorts finds the intervals of ports; what has no ports is behind them.
func (s *sockets) addPorts(bind bool) {
	s.ports = newDimension("ports")
	ranges := spans{greatest: small(abi.NoPort)}
	for i := range s.entries {
		for _, r := range s.entries[i].pattern.(policy.SocketPattern).Ports {
			ranges.add(small(uint32(r.First)), small(uint32(r.Last)), term{int32(i), policy.PortSpecificity(r)})
		}
	}
	class := s.ports.sweeper()
	if !bind || !slices.ContainsFunc(s.entries, func(e entry) bool { return e.delegated }) {
		s.byPort = ranges.sweep(s.ports.columns, class)
		return
	}
	// Port 0 has a class of its own, see addOthers.
	s.byPort = ranges.sweep(s.ports.columns, func(start number, column int32) uint32 {
		if start != (number{}) {
			return class(start, column)
		}
		s.ports.classes = append(s.ports.classes, []int32{column})
		return uint32(len(s.ports.classes) - 1)
	}, number{}.next())
}

// addProtocols finds the class of each protocol, and of none at 0.
func (s *sockets) addProtocols() {
	s.protocols = newDimension("protocols")
	class := s.protocols.sweeper()
	for protocol := policy.Protocol(0); protocol <= policy.OtherProtocol; protocol++ {
		var column []term
		for i := range s.entries {
			if slices.Contains(s.entries[i].pattern.(policy.SocketPattern).Protocols, protocol) {
				column = append(column, term{int32(i), 1})
			}
		}
		s.byProtocol = append(s.byProtocol, class(number{}, s.protocols.columns.add(column)))
	}
}

// judgeBind writes the verdicts of socket_bind. The class of an unspecified
// address stands for every address of its family, as [policy.Decide] has it.
func (s *sockets) judgeBind(w *writer, m *matrix) {
	named := uint32(0)
	m.finish = func(c policy.Candidate) policy.Candidate {
		// Of what is not port 0 or the unspecified address nobody reads these.
		c.NamesPort = c.Object[portKey] == policy.PortSpecificity(policy.PortRange{})
		c.NamesAddress = named != 0 && c.Object[addressKey] == named
		return c
	}
	all, others := m.byTier(func() [][]verdict { return s.addressBlocks(m, &named) })
	for class, block := range all {
		if others != nil && block != nil && others[class] != nil {
			s.addOthers(m, block, others[class])
		}
		s.addBind(w, m, block)
	}
}

// addressBlocks returns what is decided about each class of addresses, an unspecified one of which stands for its family.
// It sets what names that.
func (s *sockets) addressBlocks(m *matrix, named *uint32) [][]verdict {
	blocks := map[int][]verdict{}
	for _, class := range slices.Sorted(maps.Keys(s.every)) {
		*named = s.every[class].named
		m.forget()
		m.part = *named
		blocks[class] = m.block(class)
	}
	m.forget()
	*named, m.part = 0, 0
	all := make([][]verdict, len(s.addresses.classes))
	for class := range s.addresses.classes {
		if blocks[class] == nil {
			all[class] = m.block(class)
		}
		if m.work > maxWork {
			break
		}
	}
	for _, own := range slices.Sorted(maps.Keys(s.every)) {
		var family [][]verdict
		for class, is := range s.every[own].family {
			if is && all[class] != nil {
				family = append(family, all[class])
			}
		}
		if len(family) > 0 {
			m.addFamily(blocks[own], m.combineAll(family))
		}
	}
	for class, block := range blocks {
		all[class] = block
	}
	return all
}

// addOthers adds what the policies that are not delegated decide by themselves to what all decide about a class of
// addresses. Where a delegated one names port 0, what they decide about any port counts.
func (s *sockets) addOthers(m *matrix, all, others []verdict) {
	n := len(s.protocols.classes)
	zero := int(s.byPort.classes[0]) * n
	real := make([]bool, len(s.ports.classes))
	for i, class := range s.byPort.classes {
		first, next := max(s.byPort.starts[i].low, 1), uint64(abi.NoPort)
		if i+1 < len(s.byPort.starts) {
			next = s.byPort.starts[i+1].low
		}
		real[class] = real[class] || first < min(next, abi.NoPort) // behind the ports is what has none
	}
	for i := range all {
		if i < zero || i >= zero+n {
			all[i] = m.combine(stricter, all[i], others[i])
			continue
		}
		any := others[i]
		for class, is := range real {
			if is {
				any = m.combine(stricterUnlessPortNamed, any, others[class*n+i-zero])
			}
		}
		known := m.combine(stricterUnlessPortNamed, m.combine(stricterIfPortNamed, all[i], any), others[i]).known
		// A delegated policy that names port 0 may concern an unknown process.
		all[i] = verdict{known, m.combine(stricterNamedAlike, all[i], any).unknown}
	}
}

// addFamily adds what is decided about another address of the family to the
// decisions about the unspecified one, where no rule names that.
func (m *matrix) addFamily(unspecified, other []verdict) {
	for i := range unspecified {
		unspecified[i] = m.combine(stricterUnlessNamed, unspecified[i], other[i])
	}
}

// addBind appends the verdicts about one class of addresses. Where every port
// is allowed so is port 0, however many intervals the kernel would have to look
// at.
func (s *sockets) addBind(w *writer, m *matrix, block []verdict) {
	n := len(s.protocols.classes)
	restricts := make([]bool, n)
	for i, v := range block {
		restricts[i%n] = restricts[i%n] || !m.allows(v)
	}
	for i, v := range block {
		w.add(v, restricts[i%n])
	}
}
