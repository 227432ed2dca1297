package node

import "github.com/ebpfguard/ebpfguard/test/cluster/node/wire"

// settings are the files of a node, as an administrator would write them; the comments say what is for the emulation.
var settings = map[string]string{
	"/etc/passwd":        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
	"/etc/group":         "root:x:0:\nnogroup:x:65534:\n",
	"/etc/hosts":         "127.0.0.1 localhost\n{{.Address}} {{.Name}}\n",
	"/etc/hostname":      "{{.Name}}\n",
	"/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
	// There is no name server: the API server is found by its address.
	"/etc/resolv.conf": "",
	"/etc/os-release":  "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie), of parts\"\nID=debian\n",

	// Each pod has an address of its own, with a link to the node, which is also its router.
	"/etc/cni/net.d/10-pods.conflist": `{
  "cniVersion": "1.0.0", "name": "pods",
  "plugins": [{
    "type": "ptp",
    "ipam": {"type": "host-local", "subnet": "10.244.{{.Number}}.0/24", "routes": [{"dst": "0.0.0.0/0"}]}
  }]
}
`,

	// A plugin has ten seconds to answer, not two: an emulated processor is twenty times as slow.
	wire.ContainerdConfig: `version = 3
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "{{.Pause}}"
[plugins.'io.containerd.cri.v1.runtime']
  disable_apparmor = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ["/usr/lib/cni"]
  conf_dir = "/etc/cni/net.d"
[plugins.'io.containerd.nri.v1.nri']
  disable = false
  plugin_request_timeout = "10s"
  [plugins.'io.containerd.nri.v1.nri'.default_validator]
    enable = false
    required_plugins = ["ebpfguard"]
    tolerate_missing_plugins_annotation = "ebpfguard.io/may-start-without"
`,

	wire.KubeletConfig: `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
# There is no systemd.
cgroupDriver: cgroupfs
enforceNodeAllocatable: []
resolvConf: /etc/resolv.conf
# Nobody answers there, but kubelet complains without.
clusterDNS: [10.96.0.10]
tlsCertFile: /etc/kubernetes/kubelet.crt
tlsPrivateKeyFile: /etc/kubernetes/kubelet.key
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: false}
  x509: {clientCAFile: /etc/kubernetes/ca.crt}
# Whoever has a certificate. To ask the API server would fail while it is away.
authorization: {mode: AlwaysAllow}
# The emulation is slow.
runtimeRequestTimeout: 10m
# The disk is small, and images that nobody uses at the moment are wanted later.
evictionHard: {memory.available: 50Mi}
imageGCHighThresholdPercent: 100
imageMinimumGCAge: 24h
`,
}
