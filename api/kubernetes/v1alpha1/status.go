package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// The conditions of policies, in all and on a node.
const (
	// Accepted is false while a node refuses the policy; the message has what validate says.
	Accepted = "Accepted"
	// Enforced is true when the policy is in force on every node that it is meant for.
	Enforced = "Enforced"
	// Degraded is true while something of it cannot be enforced on some node.
	Degraded = "Degraded"
)

// PolicyStatus says where a policy is in force. The agents' leader writes the summary, each agent its own node.
type PolicyStatus struct {
	// ObservedGeneration is that of the spec that the rest is about.
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Rules and Subject are the spec in few words, for kubectl get.
	Rules   string `json:"rules,omitempty"`
	Subject string `json:"subject,omitempty"`
	// InForce is on how many of how many nodes the policy is in force: 3/3.
	InForce string `json:"inForce,omitempty"`
	// Denials is how often the policy's rules refused something, on all nodes.
	Denials int64 `json:"denials,omitempty"`
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Nodes are those where the policy is not in force as it should be, the first 64 of them; NodeStatus has all.
	// +listType=map
	// +listMapKey=node
	// +kubebuilder:validation:MaxItems=64
	Nodes []PolicyOnNode `json:"nodes,omitempty"`
}

// PolicyOnNode is what became of a policy on a node.
type PolicyOnNode struct {
	Node string `json:"node"`
	// Generation is that of the spec that is in force there, 0 if none is.
	Generation int64 `json:"generation"`
	// Reason and Message say what is wrong.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
}

// NodeStatus is what the agent of a node does; its name is the node's. The agent is its only writer.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=guardnode,categories=ebpfguard
// +kubebuilder:printcolumn:name=Version,type=string,JSONPath=`.status.version`
// +kubebuilder:printcolumn:name=Kernel,type=string,JSONPath=`.status.kernel`
// +kubebuilder:printcolumn:name=Revision,type=integer,JSONPath=`.status.revision`
// +kubebuilder:printcolumn:name=Enforced,type=string,JSONPath=`.status.conditions[?(@.type=="Enforced")].status`
// +kubebuilder:printcolumn:name=Degraded,type=string,JSONPath=`.status.conditions[?(@.type=="Degraded")].status`
// +kubebuilder:printcolumn:name=Seen,type=date,JSONPath=`.status.seen`
type NodeStatus struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Status NodeStatusStatus `json:"status,omitempty"`
}

// NodeStatusStatus is what an agent tells of its node.
type NodeStatusStatus struct {
	// Version is the agent's, Kernel that of the node.
	Version string `json:"version,omitempty"`
	Kernel  string `json:"kernel,omitempty"`
	// Revision counts the sets that were in force since the node was booted.
	Revision int64 `json:"revision,omitempty"`
	// Seen is when the agent last wrote this.
	Seen metav1.Time `json:"seen,omitempty"`
	// Gaps are what this kernel cannot enforce.
	Gaps []string `json:"gaps,omitempty"`
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Policies are those that are meant for this node. They have one writer: an atomic list saves its managed fields, which
	// were as large as the list.
	// +listType=atomic
	Policies []NodePolicy `json:"policies,omitempty"`
}

// NodePolicy is a policy on this node.
type NodePolicy struct {
	// Policy is NAMESPACE/NAME, or the NAME of a ClusterPolicy.
	Policy string `json:"policy"`
	// UID is that of the object: another one of this name has generations of its own.
	UID types.UID `json:"uid,omitempty"`
	// Generation is that of the spec that is in force, 0 if none is.
	Generation int64 `json:"generation"`
	// Observed is the generation that Error is about, where another one or none is in force.
	Observed int64 `json:"observed,omitempty"`
	// Denials is how often its rules refused something here since this spec is in force, or would have in mode audit.
	Denials int64 `json:"denials,omitempty"`
	// Error is why it is not in force, or, where it is, what this node cannot enforce of it.
	// +kubebuilder:validation:MaxLength=1024
	Error string `json:"error,omitempty"`
}

// NodeStatusList is a list of what agents do.
//
// +kubebuilder:object:root=true
type NodeStatusList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []NodeStatus `json:"items"`
}
