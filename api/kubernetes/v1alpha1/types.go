package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is that of all objects here.
var GroupVersion = schema.GroupVersion{Group: "ebpfguard.io", Version: "v1alpha1"}

// AddToScheme makes a scheme know the objects.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion, &Policy{}, &PolicyList{}, &ClusterPolicy{}, &ClusterPolicyList{}, &NodeStatus{}, &NodeStatusList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}

// Policy says what processes in the pods of its namespace may do, whatever its spec says of other namespaces.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=guardpolicy,categories=ebpfguard
// +kubebuilder:printcolumn:name=Mode,type=string,JSONPath=`.spec.mode`
// +kubebuilder:printcolumn:name=Rules,type=string,JSONPath=`.status.rules`
// +kubebuilder:printcolumn:name=Subject,type=string,JSONPath=`.status.subject`
// +kubebuilder:printcolumn:name=In force,type=string,JSONPath=`.status.inForce`
// +kubebuilder:printcolumn:name=Denials,type=integer,JSONPath=`.status.denials`
// +kubebuilder:printcolumn:name=Age,type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="!has(self.spec.subject.host) || !self.spec.subject.host",fieldPath=".spec.subject.host",message="a Policy is about the pods of its namespace; write a ClusterPolicy for hosts"
// +kubebuilder:validation:XValidation:rule="!has(self.spec.subject.cgroups)",fieldPath=".spec.subject.cgroups",message="a Policy cannot name control groups, which are the node's; select pods, or write a ClusterPolicy"
type Policy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   PolicySpec   `json:"spec"`
	Status PolicyStatus `json:"status,omitempty"`
}

// PolicyList is a list of policies.
//
// +kubebuilder:object:root=true
type PolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Policy `json:"items"`
}

// ClusterPolicySpec says what processes in any pods, and on hosts, may do.
//
// +kubebuilder:validation:XValidation:rule="!has(self.subject.host) || !self.subject.host || !(has(self.namespaceSelector) || has(self.podSelector))",message="the subject is the host, which is in no namespace and no pod; leave out namespaceSelector and podSelector"
type ClusterPolicySpec struct {
	PolicySpec `json:",inline"`
	// NamespaceSelector selects the namespaces of the pods by their labels; all if it is left out.
	NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector,omitempty"`
	// PodSelector selects the pods by their labels; all if it is left out.
	PodSelector *metav1.LabelSelector `json:"podSelector,omitempty"`
	// NodeSelector selects the nodes on which the policy is in force, by their labels; all if it is left out.
	NodeSelector *metav1.LabelSelector `json:"nodeSelector,omitempty"`
	// Overridable lets a namespace's Policy except its own pods from what this one denies.
	Overridable bool `json:"overridable,omitempty"`
}

// ClusterPolicy says what processes in any pods, and on hosts, may do.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=clusterguardpolicy,categories=ebpfguard
// +kubebuilder:printcolumn:name=Mode,type=string,JSONPath=`.spec.mode`
// +kubebuilder:printcolumn:name=Rules,type=string,JSONPath=`.status.rules`
// +kubebuilder:printcolumn:name=Subject,type=string,JSONPath=`.status.subject`
// +kubebuilder:printcolumn:name=In force,type=string,JSONPath=`.status.inForce`
// +kubebuilder:printcolumn:name=Denials,type=integer,JSONPath=`.status.denials`
// +kubebuilder:printcolumn:name=Age,type=date,JSONPath=`.metadata.creationTimestamp`
type ClusterPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ClusterPolicySpec `json:"spec"`
	Status PolicyStatus      `json:"status,omitempty"`
}

// ClusterPolicyList is a list of cluster policies.
//
// +kubebuilder:object:root=true
type ClusterPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ClusterPolicy `json:"items"`
}
