package vmtest

import (
	"maps"
	"slices"
)

// Gateway is where a guest with a network finds the host's loopback.
const Gateway = "10.0.2.2"

// networkModules are what the guest needs for it, where they are not built in.
var networkModules = []string{"virtio_pci?", "virtio_net?"}

// Network is that of a guest: QEMU's own, with neither rights nor devices of the host.
type Network struct {
	// Address is the guest's, one of 10.0.2.0/24 that is none of QEMU's: 10.0.2.15 or higher.
	Address string
	// Forward maps addresses of the host, such as 127.0.0.1:8080, to the guest's ports.
	Forward map[string]string
}

// args makes QEMU's arguments.
func (n *Network) args() []string {
	if n == nil {
		return nil
	}
	netdev := "user,id=net"
	for _, host := range slices.Sorted(maps.Keys(n.Forward)) {
		netdev += ",hostfwd=tcp:" + host + "-" + n.Address + ":" + n.Forward[host]
	}
	return []string{"-netdev", netdev, "-device", "virtio-net-pci,netdev=net"}
}
