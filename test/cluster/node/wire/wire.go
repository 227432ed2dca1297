// Package wire is what test/cluster/node and its program in the guest tell each other.
package wire

import (
	"fmt"
	"os/exec"
)

// Files of the guest.
const (
	KubeletConfig    = "/etc/kubernetes/kubelet.yaml"
	Kubeconfig       = "/etc/kubernetes/kubelet.kubeconfig"
	ContainerdConfig = "/etc/containerd/config.toml"
	// Images are archives for containerd.
	Images = "/var/lib/images"
	// Logs has NAME.log of each program.
	Logs = "/var/log/node"
)

// Variables of the environment.
const (
	NameEnv    = "NODE_NAME"
	AddressEnv = "NODE_ADDRESS"
	LabelsEnv  = "NODE_LABELS"
)

// Port is that of the program in the guest, and KubeletPort that of kubelet.
const (
	Port        = "8080"
	KubeletPort = "10250"
)

// Command is what POST /run takes, and Result what it gives back.
type (
	Command struct{ Args []string }
	Result  struct {
		// Output is standard output and standard error.
		Output string
		// Exit is the exit status, -1 if there is none.
		Exit int
		// Error says why there is none.
		Error string
	}
)

// Import gives an archive to containerd.
func Import(archive string) error {
	out, err := exec.Command("/usr/local/bin/ctr", "--namespace", "k8s.io", "image", "import", archive).CombinedOutput()
	if err != nil {
		return fmt.Errorf("import %s: %w: %s", archive, err, out)
	}
	return nil
}
