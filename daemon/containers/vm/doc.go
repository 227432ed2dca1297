// Package vm tests the sources of containers and the OCI hook with real runtimes, in a virtual machine with systemd.
// `make test-containers` boots it.
package vm
