package policy

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
)

// maxListed bounds how many lines a file of addresses may have.
const maxListed = 16_000_000

// LoadAddresses reads a file of addresses: one address or CIDR a line; blank lines
// and what follows a '#' do not count. It returns each prefix once, masked, with
// v4-mapped ones as IPv4, sorted by address and then by length. The error names
// the file and line of each problem, of the first hundred; a file without any
// address is an error too, since nothing could be told apart from a broken
// download.
func LoadAddresses(path string) ([]netip.Prefix, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("load addresses: %w; check the path and its permissions", err)
	}
	defer file.Close()
	return readAddresses(path, file)
}

func readAddresses(name string, r io.Reader) ([]netip.Prefix, error) {
	var list []netip.Prefix
	var errs []error
	fail := func(line int, err error) {
		errs = append(errs, &Error{Source: fmt.Sprintf("%s:%d", name, line), Rule: -1, Err: err})
	}
	lines := bufio.NewScanner(r)
	line := 0
	for lines.Scan() && len(errs) < maxProblems {
		line++
		text := lines.Bytes()
		if i := bytes.IndexByte(text, '#'); i >= 0 {
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
	if len(list) == 0 && len(errs) == 0 {
		fail(1, errors.New("the file contains no address; add one or do not name the file"))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return sortPrefixes(list), nil
}

// parseListed returns the prefix of a line. Unlike in a policy, bits after the
// prefix are ignored: lists are made by programs.
func parseListed(text string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(text); err == nil {
		if !p.Addr().Is4In6() || p.Bits() >= 96 {
			return normalPrefix(p).Masked(), nil
		}
		return netip.Prefix{}, checkPrefix(p)
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
