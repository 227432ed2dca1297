// Package container tests the guard in a container on real kernels: the image of `make image` is run by runc, with and
// without each capability and mount. `make test-container` puts image and runc into the guest.
package container
