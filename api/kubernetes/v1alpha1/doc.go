// Package v1alpha1 has the objects by which a cluster says what ebpfguard enforces: Policy, ClusterPolicy and
// NodeStatus of the group ebpfguard.io.
//
// The spec of a policy is that of its YAML on a host (docs/semantics.md) in its long form: lists where a single value
// would do. So what a cluster accepts, a host does too.
//
// +kubebuilder:object:generate=true
// +groupName=ebpfguard.io
package v1alpha1
