package policy

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// pattern decodes all or the pattern set of a socket operation.
func (d *decoder) pattern(n *yaml.Node, what string) (Pattern, bool) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" && n.Value == "all" {
		return SocketPattern{All: true}, true
	}
	before := len(d.problems)
	set, ok := d.mapping(n, "pattern", what+": all or "+what+": {ports: [...]}", "ports", "addresses", "protocols")
	if !ok {
		return nil, false
	}
	var p SocketPattern
	if value, ok := set["ports"]; ok {
		for _, item := range d.list(value, "ports") {
			r, err := parsePorts(item)
			d.check(item, err)
			p.Ports = append(p.Ports, r)
		}
	}
	if value, ok := set["addresses"]; ok {
		for _, item := range d.list(value, "addresses") {
			text, ok := d.text(item, "an address")
			if !ok {
				continue
			}
			prefix, err := ParseAddress(text)
			d.check(item, err)
			p.Addresses = append(p.Addresses, prefix)
		}
	}
	if value, ok := set["protocols"]; ok {
		for _, item := range d.list(value, "protocols") {
			text, ok := d.text(item, "a protocol")
			if !ok {
				continue
			}
			protocol, err := ParseProtocol(text)
			d.check(item, err)
			p.Protocols = append(p.Protocols, protocol)
		}
	}
	if len(d.problems) > before {
		return nil, false
	}
	if err := p.validate(); err != nil {
		d.check(n, err)
		return nil, false
	}
	return p, true
}

var (
	decimal      = regexp.MustCompile(`^(0|[1-9][0-9]*)$`)
	decimalRange = regexp.MustCompile(`^([0-9]+)-([0-9]+)$`)
)

// parsePorts returns the port or range of ports that the node holds.
func parsePorts(n *yaml.Node) (PortRange, error) {
	const remedy = "write a number from 0 to 65535 or a range such as 2200-2299"
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" && n.ShortTag() != "!!str" {
		return PortRange{}, fmt.Errorf("a port cannot be %s; %s", kind(n), remedy)
	}
	if n.ShortTag() == "!!int" {
		// YAML reads 022, 0x16 and 2_2 as numbers, and not all readers as
		// the same.
		if !decimal.MatchString(n.Value) {
			return PortRange{}, fmt.Errorf("port %s is not a plain decimal number; %s", kind(n), remedy)
		}
		port, err := parsePort(n.Value)
		return PortRange{port, port}, err
	}
	m := decimalRange.FindStringSubmatch(n.Value)
	switch {
	case m == nil && decimal.MatchString(n.Value):
		return PortRange{}, fmt.Errorf("port %q is a string; write it without the quotes", n.Value)
	case m == nil:
		return PortRange{}, fmt.Errorf("%s is no port; %s", kind(n), remedy)
	case !decimal.MatchString(m[1]) || !decimal.MatchString(m[2]):
		return PortRange{}, fmt.Errorf("port range %s has leading zeros; remove them", kind(n))
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
		return 0, fmt.Errorf("port %s is too great; write a number from 0 to 65535", s)
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
		return netip.Prefix{}, fmt.Errorf("address %q has a zone, which policies do not tell apart; remove it from the %% on", shown)
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
