package main

import (
	"encoding/xml"
	"io"
	"strings"
	"testing"
)

func TestPlot(t *testing.T) {
	svg := string(plot("6.12", map[string]map[string]float64{
		"open": {nothing: 6000, "10 rules": 6600, "AppArmor, 10 rules": 7600, denied: 26_000},
	}))
	for _, want := range []string{
		`width="127.9" height="9" fill="#3182bd"`, // 600 of 1600
		`width="341.0" height="9" fill="#e6550d"`,
		`width="372.0" height="9" fill="#de2d26"`,
		"+20000 denied, with an alert (bar cut off)",
	} {
		if !strings.Contains(svg, want) {
			t.Errorf("the plot has no %s:\n%s", want, svg)
		}
	}
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
