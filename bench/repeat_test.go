package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestPrintDifferences(t *testing.T) {
	figures := func(base, rules float64) map[string]map[string]float64 {
		return map[string]map[string]float64{"open": {nothing: base, "10 rules": rules}}
	}
	for name, c := range map[string]struct {
		second map[string]map[string]float64
		line   string
		agree  bool
	}{
		"the same":       {figures(1000, 1100), "| open | 0 | " + nothing + " | 0.00 % | 0 | " + nothing + " |", true},
		"a little":       {figures(1000, 1105), "| open | 5 | 10 rules | 0.45 % | 5 | 10 rules |", true},
		"much":           {figures(1020, 1100), "| open | 20 | " + nothing + " | 2.00 % | 20 | 10 rules |", false},
		"both alike":     {figures(1005, 1105), "0.50 % | 0 | " + nothing + " |", true},
		"in its absence": {figures(1000, 0), "100.00 %", false},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := printDifferences(&b, "6.12", []map[string]map[string]float64{renamed(figures(1000, 1100)), renamed(c.second)}); err != nil {
				t.Errorf("means: %v", err)
			}
			b.Reset()
			err := printDifferences(&b, "6.12", []map[string]map[string]float64{figures(1000, 1100), c.second})
			if (err == nil) != c.agree {
				t.Errorf("error %v", err)
			}
			if !strings.Contains(b.String(), c.line) {
				t.Errorf("no %q in\n%s", c.line, b.String())
			}
		})
	}
}

func renamed(figures map[string]map[string]float64) map[string]map[string]float64 {
	return map[string]map[string]float64{"open" + meanOf: figures["open"]}
}
