// Package vm tests the Debian package on a system with systemd: install, crash, upgrade and purge. Its tests carry the
// build tag vm_deb and change the system that they run on, so they run in a virtual machine: make test-deb.
package vm
