package policy

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ebpfguard/ebpfguard/internal/strictyaml"
)

// socketPattern decodes the fields of a pattern set of a socket operation.
func (d *decoder) socketPattern(set strictyaml.Fields) Pattern {
	var p SocketPattern
	if value, ok := set["ports"]; ok {
		for _, item := range d.List(value, "ports") {
			r, err := parsePorts(item)
			d.Check(item, err)
			p.Ports = append(p.Ports, r)
		}
	}
	for item, text := range d.Texts(set, "addresses", "an address", wrong(ParseAddress)) {
		prefix, err := ParseAddress(text)
		d.Check(item, err)
		p.Addresses = append(p.Addresses, prefix)
	}
	if n, ok := set["addresses_from"]; ok && n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
		// What Marshal writes of files without any address.
		p.AddressesFrom, p.Listed = []string{}, []netip.Prefix{}
		delete(set, "addresses_from")
	}
	for item, text := range d.Texts(set, "addresses_from", "a file name") {
		p.AddressesFrom = append(p.AddressesFrom, text)
		listed, err := d.addressesFrom(text)
		d.Check(item, err)
		if p.Listed == nil {
			p.Listed = listed // shared with other patterns that name the file
		} else {
			p.Listed = sortPrefixes(append(slices.Clone(p.Listed), listed...))
		}
	}
	for item, text := range d.Texts(set, "protocols", "a protocol", wrong(ParseProtocol)) {
		protocol, err := ParseProtocol(text)
		d.Check(item, err)
		p.Protocols = append(p.Protocols, protocol)
	}
	return p
}

// lists remembers the files of addresses that have been loaded.
type lists map[string]struct {
	addresses []netip.Prefix
	err       error
}

// addressesFrom returns the addresses of a file that is named relative to the
// policy's.
func (d *decoder) addressesFrom(name string) ([]netip.Prefix, error) {
	if name == "" {
		return nil, errors.New("addresses_from names an empty file name; write the name of a file")
	}
	path := name
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(d.file), path)
	}
	loaded, ok := d.lists[path]
	if !ok {
		loaded.addresses, loaded.err = LoadAddresses(path)
		d.lists[path] = loaded
	}
	return loaded.addresses, loaded.err
}

var (
	decimal      = regexp.MustCompile(`^(0|[1-9][0-9]*)$`)
	decimalRange = regexp.MustCompile(`^([0-9]+)-([0-9]+)$`)
)

// parsePorts returns the port or range of ports that the node holds.
func parsePorts(n *yaml.Node) (PortRange, error) {
	const remedy = "write a number from 0 to 65535 or a range such as 2200-2299"
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" && n.ShortTag() != "!!str" {
		return PortRange{}, fmt.Errorf("a port cannot be %s; %s", strictyaml.Kind(n), remedy)
	}
	if n.ShortTag() == "!!int" {
		// YAML reads 022, 0x16 and 2_2 as numbers, and not all readers as
		// the same.
		if !decimal.MatchString(n.Value) {
			return PortRange{}, fmt.Errorf("port %s is not a plain decimal number; %s", strictyaml.Kind(n), remedy)
		}
		port, err := parsePort(n.Value)
		return PortRange{port, port}, err
	}
	m := decimalRange.FindStringSubmatch(n.Value)
	switch {
	case m == nil && decimal.MatchString(n.Value):
		return PortRange{}, fmt.Errorf("port %q is a string; write it without the quotes", n.Value)
	case m == nil:
		return PortRange{}, fmt.Errorf("%s is no port; %s", strictyaml.Kind(n), remedy)
	case !decimal.MatchString(m[1]) || !decimal.MatchString(m[2]):
		return PortRange{}, fmt.Errorf("port range %s has leading zeros; remove them", strictyaml.Kind(n))
	}
	first, err := parsePort(m[1])
	if err != nil {
		return PortRange{}, err
	}
	last, err := parsePort(m[2])
	if err != nil {
		return PortRange{}, err
	}
	if first > last {
		return PortRange{}, fmt.Errorf("port range %s ends before it begins; write %d-%d", n.Value, last, first)
	}
	return PortRange{first, last}, nil
}

// parsePort returns the port of a decimal number.
func parsePort(s string) (uint16, error) {
	port, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		if len(s) > 20 {
			s = s[:20] + "…"
		}
		return 0, fmt.Errorf("port %s is too large; write a number from 0 to 65535", s)
	}
	return uint16(port), nil
}

// ParseAddress returns the prefix that a policy writes as an address or as a
// CIDR. A v4-mapped one becomes the IPv4 prefix that it means. A prefix with
// bits set after its length is an error.
func ParseAddress(s string) (netip.Prefix, error) {
	shown := s
	if len(shown) > 64 {
		shown = shown[:64] + "…"
	}
	if strings.Contains(s, "%") {
		return netip.Prefix{}, fmt.Errorf("address %q has a zone, which policies cannot match; remove the %% and what follows", shown)
	}
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return netip.Prefix{}, fmt.Errorf("%q is no address; write an address or CIDR such as 10.0.0.0/8 or ::1", shown)
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	address, bits, _ := strings.Cut(s, "/")
	a, err := netip.ParseAddr(address)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is no CIDR; write an address or CIDR such as 10.0.0.0/8 or ::1", shown)
	}
	length, err := strconv.Atoi(bits)
	if err != nil || !decimal.MatchString(bits) || length > a.BitLen() {
		return netip.Prefix{}, fmt.Errorf("the length of %q is wrong; write a number from 0 to %d after the slash", shown, a.BitLen())
	}
	p := normalPrefix(netip.PrefixFrom(a, length))
	if err := checkPrefix(p); err != nil {
		return netip.Prefix{}, err
	}
	return p, nil
}

// String returns the range as YAML spells it: 22 or 2200-2299.
func (r PortRange) String() string {
	if r.First == r.Last {
		return strconv.Itoa(int(r.First))
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// String returns the pattern as flow-style YAML, the addresses of files by the
// names of the files.
func (p SocketPattern) String() string {
	if p.All {
		return "all"
	}
	var ports, addresses, names []string
	for _, r := range p.Ports {
		ports = append(ports, r.String())
	}
	for _, prefix := range p.Addresses {
		text := prefix.String()
		if prefix.IsSingleIP() {
			text = prefix.Addr().String()
		}
		addresses = append(addresses, strictyaml.Scalar(text))
	}
	for _, protocol := range p.Protocols {
		names = append(names, protocol.String())
	}
	var f flow
	f.list("ports", ports)
	f.list("addresses", addresses)
	if p.AddressesFrom != nil && len(p.AddressesFrom) == 0 {
		f.keys = append(f.keys, "addresses_from: []")
	}
	f.list("addresses_from", quoted(p.AddressesFrom))
	f.list("protocols", names)
	return f.String()
}

// String returns the socket as protocol, address and port.
func (s Socket) String() string {
	text := s.Protocol.String() + " "
	if s.Protocol.HasPorts() {
		text += net.JoinHostPort(s.Address.String(), strconv.Itoa(int(s.Port)))
	} else {
		text += s.Address.String()
	}
	if s.DualStack && s.Address.Is6() && s.Address.IsUnspecified() {
		text += " (IPv6 and IPv4)"
	}
	return text
}
