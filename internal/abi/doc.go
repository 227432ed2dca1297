// Package abi is what the kernel programs and Go share: the layout of a revision of tables
// and of an alert, and the numbers in them. layout.go is generated from bpf/abi.h, of which
// there is no second copy; here are the few functions that go with it. The package needs
// nothing but the standard library, so that what compiles policies needs no loader.
package abi
