package kubernetes

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"

	"github.com/ebpfguard/ebpfguard/api/kubernetes/v1alpha1"
)

// Pod, Namespace and Node are what the agent needs of these objects. The types of k8s.io/api have all of them, and
// would make the program 3 MB larger and each pod some KB.
type (
	// Pod has the spec's service account only.
	Pod struct {
		metav1.TypeMeta   `json:",inline"`
		metav1.ObjectMeta `json:"metadata,omitempty"`
		Spec              struct {
			ServiceAccountName string `json:"serviceAccountName,omitempty"`
		} `json:"spec"`
	}
	// Namespace has its metadata only.
	Namespace struct {
		metav1.TypeMeta   `json:",inline"`
		metav1.ObjectMeta `json:"metadata,omitempty"`
	}
	// Node has its metadata only.
	Node struct {
		metav1.TypeMeta   `json:",inline"`
		metav1.ObjectMeta `json:"metadata,omitempty"`
	}
	list[T any] struct {
		metav1.TypeMeta `json:",inline"`
		metav1.ListMeta `json:"metadata,omitempty"`
		Items           []T `json:"items"`
	}
	// Event is a core one: kubectl describe shows both kinds, and the API server has one.
	Event struct {
		metav1.TypeMeta    `json:",inline"`
		metav1.ObjectMeta  `json:"metadata"`
		InvolvedObject     ObjectReference  `json:"involvedObject"`
		Type               string           `json:"type,omitempty"`
		Reason             string           `json:"reason,omitempty"`
		Message            string           `json:"message,omitempty"`
		Action             string           `json:"action,omitempty"`
		EventTime          metav1.MicroTime `json:"eventTime,omitempty"`
		Series             *EventSeries     `json:"series,omitempty"`
		ReportingComponent string           `json:"reportingComponent"`
		ReportingInstance  string           `json:"reportingInstance"`
	}
	// EventSeries counts what an event stands for.
	EventSeries struct {
		Count            int32            `json:"count"`
		LastObservedTime metav1.MicroTime `json:"lastObservedTime"`
	}
	// ObjectReference names an object.
	ObjectReference struct {
		APIVersion string `json:"apiVersion,omitempty"`
		Kind       string `json:"kind,omitempty"`
		Namespace  string `json:"namespace,omitempty"`
		Name       string `json:"name,omitempty"`
		UID        string `json:"uid,omitempty"`
		FieldPath  string `json:"fieldPath,omitempty"`
	}
	// PodList, NamespaceList, NodeList and EventList are lists of them.
	PodList       struct{ list[Pod] }
	NamespaceList struct{ list[Namespace] }
	NodeList      struct{ list[Node] }
	EventList     struct{ list[Event] }
)

// DeepCopyObject implements [runtime.Object].
func (p *Pod) DeepCopyObject() runtime.Object {
	c := *p
	c.ObjectMeta = *p.ObjectMeta.DeepCopy()
	return &c
}

// DeepCopyObject implements [runtime.Object].
func (n *Namespace) DeepCopyObject() runtime.Object {
	return &Namespace{n.TypeMeta, *n.ObjectMeta.DeepCopy()}
}

// DeepCopyObject implements [runtime.Object].
func (n *Node) DeepCopyObject() runtime.Object { return &Node{n.TypeMeta, *n.ObjectMeta.DeepCopy()} }

// DeepCopyObject implements [runtime.Object].
func (l *PodList) DeepCopyObject() runtime.Object {
	c := &PodList{list[Pod]{TypeMeta: l.TypeMeta, ListMeta: *l.ListMeta.DeepCopy()}}
	for i := range l.Items {
		c.Items = append(c.Items, *l.Items[i].DeepCopyObject().(*Pod))
	}
	return c
}

// DeepCopyObject implements [runtime.Object].
func (l *NamespaceList) DeepCopyObject() runtime.Object {
	c := &NamespaceList{list[Namespace]{TypeMeta: l.TypeMeta, ListMeta: *l.ListMeta.DeepCopy()}}
	for i := range l.Items {
		c.Items = append(c.Items, *l.Items[i].DeepCopyObject().(*Namespace))
	}
	return c
}

// DeepCopyObject implements [runtime.Object].
func (l *NodeList) DeepCopyObject() runtime.Object {
	c := &NodeList{list[Node]{TypeMeta: l.TypeMeta, ListMeta: *l.ListMeta.DeepCopy()}}
	for i := range l.Items {
		c.Items = append(c.Items, *l.Items[i].DeepCopyObject().(*Node))
	}
	return c
}

// DeepCopyObject implements [runtime.Object].
func (e *Event) DeepCopyObject() runtime.Object {
	c := *e
	c.ObjectMeta = *e.ObjectMeta.DeepCopy()
	if e.Series != nil {
		series := *e.Series
		c.Series = &series
	}
	return &c
}

// DeepCopyObject implements [runtime.Object].
func (l *EventList) DeepCopyObject() runtime.Object {
	c := &EventList{list[Event]{TypeMeta: l.TypeMeta, ListMeta: *l.ListMeta.DeepCopy()}}
	for i := range l.Items {
		c.Items = append(c.Items, *l.Items[i].DeepCopyObject().(*Event))
	}
	return c
}

// clients are those of the API server, by the group of what they ask for.
type clients struct {
	core, guard rest.Interface
}

// The limits of an agent's own requests, without its watches. What all agents together ask is limited by their [pace];
// the leader writes a status for each policy.
const (
	requestsPerSecond = 50
	requestsAtOnce    = 100
)

// newClients makes them. They share their connections, through which wrap sees all requests.
func newClients(c *rest.Config, wrap transport.WrapperFunc) (clients, error) {
	c = rest.CopyConfig(c)
	c.Wrap(wrap)
	c.QPS, c.Burst = requestsPerSecond, requestsAtOnce
	if c.UserAgent == "" {
		c.UserAgent = "ebpfguard"
	}
	shared, err := rest.HTTPClientFor(c)
	if err != nil {
		return clients{}, fmt.Errorf("the API server: %w", err)
	}
	core := schema.GroupVersion{Version: "v1"}
	scheme := runtime.NewScheme()
	scheme.AddKnownTypes(core, &Pod{}, &PodList{}, &Namespace{}, &NamespaceList{}, &Node{}, &NodeList{}, &Event{}, &EventList{})
	metav1.AddToGroupVersion(scheme, core)
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return clients{}, err
	}
	codecs := serializer.NewCodecFactory(scheme).WithoutConversion()
	client := func(gv schema.GroupVersion, path string) (rest.Interface, error) {
		own := rest.CopyConfig(c)
		own.GroupVersion, own.APIPath, own.NegotiatedSerializer = &gv, path, codecs
		return rest.RESTClientForConfigAndClient(own, shared)
	}
	var all clients
	if all.core, err = client(core, "/api"); err != nil {
		return clients{}, err
	}
	all.guard, err = client(v1alpha1.GroupVersion, "/apis")
	return all, err
}
