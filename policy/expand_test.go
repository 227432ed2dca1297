package policy

import (
	"strings"
	"testing"
)

// FuzzExpand finds no text that takes long or panics, and nothing is lost of one
// without brackets.
func FuzzExpand(f *testing.F) {
	for _, s := range []string{"/{usr,}/bin/nc", "/srv/[abc]", "/[", "/{a,{b,c}}", "/[]{}", strings.Repeat("/[ab]", 100)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		all := ExpandBrackets(text)
		if len(all) == 0 || len(all) > maxExpanded {
			t.Fatalf("%d paths", len(all))
		}
		if !strings.ContainsAny(text, "[{") && all[0] != strings.ReplaceAll(text, "//", "/") {
			t.Errorf("%q became %q", text, all)
		}
	})
}
