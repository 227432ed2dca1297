// Package vm holds the test that fills docs/coverage.md: every way of
// test/coverage against the guard, in a real kernel.
package vm
