package policytest

import "strings"

// ContainerID is a container's number as runtimes write it.
const ContainerID = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// GroupNames are names of control groups, and whether each says that a container is in it. The kernel (is_container_name
// in bpf/container.h) and the daemon's sweep both go by them, and must agree.
var GroupNames = map[string]bool{
	"docker-" + ContainerID + ".scope":         true,
	"cri-containerd-" + ContainerID + ".scope": true,
	"crio-" + ContainerID + ".scope":           true,
	"libpod-" + ContainerID + ".scope":         true,
	"libpod-" + ContainerID:                    true,
	ContainerID:                                true,
	"kubepods":                                 true,
	"kubepods.slice":                           true,
	"kubepods-besteffort.slice":                true,
	"lxc.payload.web":                          true,
	"machine-web.scope":                        true,
	"payload":                                  true,

	"crio-conmon-" + ContainerID + ".scope":        false,
	"libpod-conmon-" + ContainerID + ".scope":      false,
	"machine-libpod_pod_" + ContainerID + ".slice": false,
	"machine-qemu-1.scope":                         false,
	"machine.slice":                                false,
	"docker.service":                               false,
	"docker-compose-of-a-service-with-a-name-of-more-than-sixty-four-letters.scope": false,
	"payloads":               false,
	strings.Repeat("a", 32):  false,
	strings.Repeat("A", 64):  false,
	ContainerID[:63] + "x":   false,
	"x" + ContainerID + "x":  false,
	ContainerID + ".service": false,
	ContainerID + ".scope":   true,
	"kubepod":                false,
	"lxc.monitor.web":        false,
}
