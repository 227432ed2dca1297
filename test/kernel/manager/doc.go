// Package manager tests in a real kernel what a manager does beside another one,
// with a set that it must reject, and when it is killed.
package manager
