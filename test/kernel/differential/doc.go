// Package differential compares a real kernel with the reference semantics,
// policy.Decide, for random policies and operations.
package differential
