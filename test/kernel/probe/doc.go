// Package probe tests what the library says about a kernel before it loads anything.
// It is the only package with a test for a kernel whose BPF LSM is off.
package probe
