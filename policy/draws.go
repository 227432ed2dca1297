package policy

// Draws chooses the values of random patterns and objects.
type Draws interface {
	// IntN returns a number from 0 to n-1.
	IntN(n int) int
	// Path returns the path of a file or directory, PathPattern a pattern of
	// such paths, Names the names of a file.
	Path() string
	PathPattern() string
	Names() Names
	// Globs reports whether patterns may have wildcards.
	Globs() bool
}

// RandomPattern returns a pattern of the operation for tests that try many: of few
// values, so that patterns and objects meet.
func RandomPattern(o Operation, d Draws) Pattern {
	known := find(o)
	for {
		if p := known.randomPattern(d); p.validate() == nil {
			return p
		}
	}
}

// RandomObject returns an object of the operation, see [RandomPattern].
func RandomObject(o Operation, d Draws) Object { return find(o).randomObject(d) }

func choose[T any](d Draws, values ...T) T { return values[d.IntN(len(values))] }

// oneOrTwo returns one or two of the values.
func oneOrTwo[T comparable](d Draws, values ...T) []T {
	list := []T{choose(d, values...)}
	if v := choose(d, values...); d.IntN(2) == 0 && v != list[0] {
		list = append(list, v)
	}
	return list
}

func chance(d Draws, percent int) bool { return d.IntN(100) < percent }

// randomPaths returns patterns of paths.
func randomPaths(d Draws) []string { return oneOrTwo(d, d.PathPattern(), d.PathPattern()) }
