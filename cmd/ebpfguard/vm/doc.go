// Package vm tests the built command on real kernels: `make test-vm` puts
// bin/ebpfguard into each guest. Its tests carry the build tag vm and are apart
// from the command's own, which need no kernel.
package vm
