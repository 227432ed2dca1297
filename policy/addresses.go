package policy

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/ebpfguard/ebpfguard/internal/regular"
	"github.com/ebpfguard/ebpfguard/internal/strictyaml"
)

// maxListed bounds how many lines a file of addresses may have.
const maxListed = 16_000_000

// LoadAddresses reads a file of addresses: one address or CIDR a line; blank lines,
// what follows a '#' or ';', and a byte-order mark do not count. It returns each
// prefix once, masked, with v4-mapped ones as IPv4, sorted by address and then by
// length. The error names the file and line of each problem, of the first hundred. A
// file without any address is none: feeds become empty, and an error would hold back
// every other change. It matches nothing, and [Warnings] tells.
func LoadAddresses(path string) ([]netip.Prefix, error) {
	file, err := regular.Open(path)
	if err != nil {
		return nil, fmt.Errorf("load addresses: %w; check the path and its permissions", err)
	}
	defer file.Close()
	return readAddresses(path, file)
}

func readAddresses(name string, r io.Reader) ([]netip.Prefix, error) {
	list := []netip.Prefix{} // not nil, which means that nothing was loaded
	var errs []error
	fail := func(line int, err error) {
		errs = append(errs, &Error{Source: fmt.Sprintf("%s:%d", name, line), Rule: -1, Err: err})
	}
	lines := bufio.NewScanner(r)
	line := 0
	for lines.Scan() && len(errs) < strictyaml.MaxProblems {
		line++
		text := lines.Bytes()
		if line == 1 {
			text = bytes.TrimPrefix(text, []byte(byteOrderMark))
			if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) {
				fail(line, errors.New("the file is UTF-16; save it as UTF-8"))
				break
			}
		}
		if i := bytes.IndexAny(text, "#;"); i >= 0 {
			text = text[:i]
		}
		if text = bytes.TrimSpace(text); len(text) == 0 {
			continue
		}
		if len(list) == maxListed {
			fail(line, fmt.Errorf("the file has more than %d addresses; join them to CIDRs", maxListed))
			break
		}
		prefix, err := parseListed(string(text))
		if err != nil {
			fail(line, err)
			continue
		}
		list = append(list, prefix)
	}
	if err := lines.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			err = errors.New("the line is too long for an address; check that this is a file of addresses")
		}
		fail(line+1, err)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return sortPrefixes(list), nil
}

// byteOrderMark is what some editors begin files with.
const byteOrderMark = "\uFEFF"

// parseListed returns the prefix of a line. Unlike in a policy, bits after the
// prefix are ignored: lists are made by programs.
func parseListed(text string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(text); err == nil {
		if !p.Addr().Is4In6() || p.Bits() >= 96 {
			return normalPrefix(p).Masked(), nil
		}
		return netip.Prefix{}, checkPrefix(p)
	}
	if !mayBeShown(text) {
		return netip.Prefix{}, errors.New("the line is no address (and is not shown, since any file can be named); write one address or CIDR a line, such as 10.0.0.0/8")
	}
	return ParseAddress(text)
}

// sortPrefixes sorts the prefixes and removes those that are there twice.
func sortPrefixes(list []netip.Prefix) []netip.Prefix {
	slices.SortFunc(list, comparePrefixes)
	return slices.Clip(slices.Compact(list))
}

// comparePrefixes orders prefixes by address and then by length.
func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

// findListed returns the longest of the sorted prefixes that contains the address.
func findListed(list []netip.Prefix, a netip.Addr) (netip.Prefix, bool) {
	if len(list) == 0 || !a.IsValid() || a.Zone() != "" {
		return netip.Prefix{}, false
	}
	for bits := a.BitLen(); bits >= 0; bits-- {
		p := netip.PrefixFrom(a, bits).Masked()
		if _, ok := slices.BinarySearchFunc(list, p, comparePrefixes); ok {
			return p, true
		}
	}
	return netip.Prefix{}, false
}

// packedPrefixes are prefixes as one text: of each a byte for its family and
// length, and the bytes of its address, in base64.
type packedPrefixes []netip.Prefix

// packedIPv6 is what the first byte of an IPv6 prefix has beside its length.
const packedIPv6 = 64

// MarshalText implements [encoding.TextMarshaler].
func (list packedPrefixes) MarshalText() ([]byte, error) {
	packed := make([]byte, 0, 5*len(list))
	for _, p := range list {
		switch a := p.Addr(); {
		case !p.IsValid():
			return nil, errors.New("a prefix is invalid")
		case a.Is4():
			packed = append(packed, byte(p.Bits()))
		default:
			packed = append(packed, byte(packedIPv6+p.Bits()))
		}
		packed = append(packed, p.Addr().AsSlice()...)
	}
	return base64.StdEncoding.AppendEncode(nil, packed), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (list *packedPrefixes) UnmarshalText(text []byte) error {
	packed, err := base64.StdEncoding.AppendDecode(nil, text)
	if err != nil {
		return err
	}
	*list = make(packedPrefixes, 0, len(packed)/5)
	for len(packed) > 0 {
		bits, size := int(packed[0]), 4
		if bits >= packedIPv6 {
			bits, size = bits-packedIPv6, 16
		}
		if len(packed) < 1+size {
			return errors.New("the last address is cut off")
		}
		a, _ := netip.AddrFromSlice(packed[1 : 1+size])
		p := netip.PrefixFrom(a, bits)
		if !p.IsValid() {
			return fmt.Errorf("%v has no prefix of %d bits", a, bits)
		}
		*list = append(*list, p)
		packed = packed[1+size:]
	}
	return nil
}

// listedPattern is a [Pattern] part of which may be in other files.
type listedPattern interface {
	// standAlone returns the pattern with what is in the files.
	standAlone() Pattern
	// comment tells what is in the files in one line; empty if there are none.
	comment() string
}

func (p SocketPattern) standAlone() Pattern {
	if len(p.AddressesFrom) == 0 {
		return p
	}
	p.Addresses = sortPrefixes(slices.Concat(p.Addresses, p.Listed))
	p.AddressesFrom, p.Listed = nil, nil
	if len(p.Addresses) == 0 { // no address, and not any
		p.AddressesFrom, p.Listed = []string{}, []netip.Prefix{}
	}
	return p
}

func (p SocketPattern) comment() string {
	if len(p.AddressesFrom) == 0 {
		return ""
	}
	sum := sha256.New()
	for _, prefix := range p.Listed {
		fmt.Fprintln(sum, prefix)
	}
	return fmt.Sprintf("addresses_from has %d addresses, sha256 %x", len(p.Listed), sum.Sum(nil)[:8])
}

// shown are lines that are no addresses and can be no secrets either: the names of hosts, and words.
var shown = regexp.MustCompile(`^([0-9A-Za-z-]+\.[0-9A-Za-z./;-]*|[A-Za-z]{1,12})$`)

// mayBeShown reports whether a message may quote a line: who may read the daemon's status need not be
// allowed to read any file that a policy names, such as /etc/shadow. It must be almost an address, or
// the name of a host, or a word.
func mayBeShown(text string) bool {
	if _, err := netip.ParseAddr(text); err == nil || strings.Trim(text, "0123456789abcdefABCDEF.:/") == "" {
		return len(text) <= maxQuoted
	}
	return len(text) <= maxQuoted && shown.MatchString(text)
}

// maxQuoted is how long a line is at most that is quoted: no key fits.
const maxQuoted = 48
