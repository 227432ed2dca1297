// Package vm holds the test that fills docs/coverage.md: every way of
// internal/coverage against the guard, in a real kernel.
package vm
