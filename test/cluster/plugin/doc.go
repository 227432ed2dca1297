// Package plugin tests 'kubectl ebpfguard' with a real API server: what it lists, labels and is refused, and how it runs
// commands. In the place of nodes are servers with kubelet's own code for pods/exec; test/cluster/node has a real node.
package plugin
