// Package load tests in a real kernel that enforcement holds and that every denial is
// accounted for while much happens at once or policies are very large.
package load
