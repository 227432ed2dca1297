// Package terminal keeps text from steering the terminal of who reads it.
package terminal

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// steers reports whether a character that JSON allows in strings steers a terminal, or shows text in
// another order than it has: DEL, the C1 control characters, and those for bidirectional text.
func steers(r rune) bool {
	switch {
	case r == 0x7f, r >= 0x80 && r <= 0x9f, r == 0x061c, r == 0x200e, r == 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
		return true
	}
	return false
}

// EscapeJSON returns JSON whose strings hold such characters by their numbers only: it has the same
// meaning.
func EscapeJSON(text []byte) []byte {
	if bytes.IndexFunc(text, steers) < 0 {
		return text
	}
	var b bytes.Buffer
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		if steers(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.Write(text[:n])
		}
		text = text[n:]
	}
	return b.Bytes()
}
