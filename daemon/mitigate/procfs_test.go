package mitigate

import "testing"

func TestParseStat(t *testing.T) {
	tail := " 0 0 0 0 2097152 0 0 0 0 0 0 0 0 20 0 1 0 77 0 0"
	p, err := parseStat(5, []byte("5 (a) b (c) S 4"+tail))
	if err != nil || p.comm != "a) b (c" || p.ppid != 4 || p.start != 77*tick || !p.kernel || p.dead {
		t.Errorf("%v, %+v", err, p)
	}
	for _, wrong := range []string{"", "5 a S 4", "5 (a) S", "5 (a) S x" + tail} {
		if _, err := parseStat(5, []byte(wrong)); err == nil {
			t.Errorf("%q is taken", wrong)
		}
	}
}
