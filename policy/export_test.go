package policy

// For the tests in package policy_test, which can import policytest.

// WithoutIdle returns the policies without the patterns that [Warnings] finds to
// have no effect, of one operation, and how many those are.
func WithoutIdle(set []Policy, o Operation) ([]Policy, int) {
	w := warner{set: set, gone: make(map[patternIndex]bool)}
	w.operation(o)
	return w.reduce(o, w.gone), len(w.gone)
}

// MatchPath is matchPath.
func MatchPath(pattern, path string) uint32 { return matchPath(pattern, path) }
