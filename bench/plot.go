package main

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"strings"
)

// plot draws, as SVG, what each setup adds to each workload: a row of bars for a
// workload, on a scale of its own, which the baseline's figure tells. Denials, which
// cost much more, do not set the scale.
func plot(kernel string, figures map[string]map[string]float64) []byte {
	const left, width, bar, gap, top = 350, 620, 11, 16, 54
	var body bytes.Buffer
	y := top
	for _, workload := range sorted(figures, workloadOrder) {
		f := figures[workload]
		setups := sorted(f, setupOrder)
		most := 1.0
		for _, s := range setups {
			if s != denied {
				most = math.Max(most, f[s]-f[nothing])
			}
		}
		fmt.Fprintf(&body, `<text x="8" y="%d" class="w">%s</text><text x="8" y="%d" class="n">%.0f instructions</text>`+"\n",
			y+bar, html.EscapeString(workload), y+bar+14, f[nothing])
		for _, s := range setups {
			if s == nothing {
				continue
			}
			added := f[s] - f[nothing]
			length := math.Max(added, 0) / most * width * 0.55
			text := fmt.Sprintf("%+.0f %s", added, s)
			if length > width*0.6 {
				length, text = width*0.6, text+" (bar cut off)"
			}
			fmt.Fprintf(&body, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/><text x="%.1f" y="%d" class="n">%s</text>`+"\n",
				left, y+2, length, bar-2, color(s), left+length+5, y+bar-1, html.EscapeString(text))
			y += bar + 1
		}
		y += gap
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d">
<style>text{font-family:sans-serif}.t{font-size:16px;font-weight:bold}.w{font-size:12px;font-weight:bold}.n{font-size:10px;fill:#444}</style>
<rect width="100%%" height="100%%" fill="white"/>
<text x="8" y="22" class="t">Instructions that a setup adds, kernel %s</text>
<text x="8" y="40" class="n">one system call or pair of calls, counted by QEMU; shorter is better</text>
%s</svg>
`, left+width, y, html.EscapeString(kernel), body.String())
	return b.Bytes()
}

func color(setup string) string {
	switch {
	case strings.HasPrefix(setup, "AppArmor"):
		return "#e6550d"
	case strings.HasPrefix(setup, "Landlock"):
		return "#756bb1"
	}
	switch setup {
	case "empty programs":
		return "#b0b0b0"
	case "no policies":
		return "#9ecae1"
	case "allowed by a rule":
		return "#31a354"
	case denied:
		return "#de2d26"
	}
	if strings.HasPrefix(setup, "allow: all") {
		return "#08519c"
	}
	return "#3182bd"
}
