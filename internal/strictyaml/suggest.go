package strictyaml

import (
	"fmt"
	"strings"
)

// Suggest returns advice for a name that is none of the known ones: the one
// that was probably meant or else all of them.
func Suggest(name string, known []string) string {
	if best := Nearest(name, known); best != "" {
		return fmt.Sprintf("did you mean %s?", best)
	}
	switch len(known) {
	case 0:
		return "leave it out"
	case 1:
		return "the only one is " + known[0]
	}
	return "choose from " + strings.Join(known, ", ")
}

// Nearest returns the known name that was probably meant, empty if none was.
func Nearest(name string, known []string) string {
	best, distance := "", 3
	for _, k := range known {
		if d := EditDistance(strings.ToLower(name), k); d < distance && d < min(len(k), len(name)) {
			best, distance = k, d
		}
	}
	for _, k := range known {
		if best == "" && name != "" && strings.HasSuffix(k, "_"+strings.ToLower(name)) {
			best = k // bind is short for socket_bind
		}
	}
	return best
}

// EditDistance returns how many bytes have to be inserted, removed or replaced
// to make b from a.
func EditDistance(a, b string) int {
	if len(a) > 64 {
		return len(a) // a long name is no typing mistake
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
