// Package daemon keeps policies in force: those of a directory that it watches, those
// that were applied, and mitigations, which end by themselves. It serves the API of
// api/ebpfguard/v1alpha1 on a Unix socket and hands alerts to outputs.
//
// `ebpfguard daemon` is this package with flags; docs/daemon.md describes both.
package daemon
