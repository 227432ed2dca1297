// Package takeover tests in a real kernel that enforcement with a PinPath outlives its
// process, and that the next process takes it over.
package takeover
