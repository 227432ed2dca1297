// Package load tests in a real kernel that enforcement holds and that every denial is
// accounted for while much happens at once or policies are very large.
//
// On one processor the kernel runs a program of the guard to its end before anything else,
// so that a set is never replaced in the middle of a decision. Tests of that ask for
// another one (vmtest.Processors).
package load
