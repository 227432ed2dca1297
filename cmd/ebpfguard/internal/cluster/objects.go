package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/ebpfguard/ebpfguard/api/kubernetes/v1alpha1"
)

// Pod is what is needed of one. The types of k8s.io/api would make the command some megabytes larger.
type Pod struct {
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		NodeName            string      `json:"nodeName"`
		ServiceAccountName  string      `json:"serviceAccountName"`
		InitContainers      []Container `json:"initContainers"`
		Containers          []Container `json:"containers"`
		EphemeralContainers []Container `json:"ephemeralContainers"`
	} `json:"spec"`
	Status struct {
		Phase      string             `json:"phase"`
		Conditions []metav1.Condition `json:"conditions"`
	} `json:"status"`
}

// Container is one of a pod.
type Container struct {
	Name  string `json:"name"`
	Image string `json:"image"`
}

// Containers returns all containers, those that run for long first.
func (p *Pod) Containers() []Container {
	return slices.Concat(p.Spec.Containers, p.Spec.InitContainers, p.Spec.EphemeralContainers)
}

// IsReady reports whether the kubelet calls the pod ready.
func (p *Pod) IsReady() bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c metav1.Condition) bool { return c.Type == "Ready" && c.Status == metav1.ConditionTrue })
}

// String returns the pod as NAMESPACE/NAME.
func (p *Pod) String() string { return p.Namespace + "/" + p.Name }

// Node is what is needed of one.
type Node struct {
	metav1.ObjectMeta `json:"metadata"`
}

// IsLinux reports whether an agent can run on the node.
func (n Node) IsLinux() bool {
	os := n.Labels["kubernetes.io/os"]
	return os == "" || os == "linux"
}

// podsPath is the path of the pods of a namespace, podPath that of one.
func podsPath(namespace string) string      { return "/api/v1/namespaces/" + namespace + "/pods" }
func podPath(namespace, name string) string { return podsPath(namespace) + "/" + name }

// checkName refuses what is no name of a pod: it would ask for something else of the API server.
func checkName(name string) error {
	if validation.IsDNS1123Subdomain(name) != nil {
		return fmt.Errorf("%q is no name of a pod; 'kubectl get pods' lists them", name)
	}
	return nil
}

// ErrNoPod is wrapped when there is no pod of a name.
var ErrNoPod = errors.New("there is no pod")

// Pod returns the pod of a name in the cluster's namespace.
func (c *Cluster) Pod(ctx context.Context, name string) (*Pod, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	var p Pod
	err := c.get(ctx, podPath(c.Namespace, name), &p)
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("%w %q in the namespace %q; 'kubectl get pods -A' lists them, -n chooses another namespace", ErrNoPod, name, c.Namespace)
	}
	return &p, err
}

// Pods returns the pods of the cluster's namespace.
func (c *Cluster) Pods(ctx context.Context) ([]Pod, error) {
	return listOf[Pod](ctx, c, podsPath(c.Namespace), nil)
}

// SetLabel sets a label of a pod, and removes it with nil.
func (c *Cluster) SetLabel(ctx context.Context, pod *Pod, key string, value *string) (*Pod, error) {
	type object map[string]any
	// With the uid another pod of the same name stays as it is.
	change := object{"metadata": object{"uid": pod.UID, "labels": map[string]*string{key: value}}}
	var p Pod
	err := c.patch(ctx, podPath(pod.Namespace, pod.Name), change, &p)
	return &p, err
}

// Nodes returns the cluster's nodes.
func (c *Cluster) Nodes(ctx context.Context) ([]Node, error) {
	return listOf[Node](ctx, c, "/api/v1/nodes", nil)
}

const guardPath = "/apis/ebpfguard.io/v1alpha1/"

// NodeStatuses returns what the agents tell of their nodes.
func (c *Cluster) NodeStatuses(ctx context.Context) ([]v1alpha1.NodeStatus, error) {
	return listOf[v1alpha1.NodeStatus](ctx, c, guardPath+"nodestatuses", nil)
}

// NodeStatus returns what the agent of a node tells.
func (c *Cluster) NodeStatus(ctx context.Context, node string) (*v1alpha1.NodeStatus, error) {
	var s v1alpha1.NodeStatus
	err := c.get(ctx, guardPath+"nodestatuses/"+url.PathEscape(node), &s)
	return &s, err
}

// Policies returns the policies of all namespaces.
func (c *Cluster) Policies(ctx context.Context) ([]v1alpha1.Policy, error) {
	return listOf[v1alpha1.Policy](ctx, c, guardPath+"policies", nil)
}

// ClusterPolicies returns the policies of the cluster.
func (c *Cluster) ClusterPolicies(ctx context.Context) ([]v1alpha1.ClusterPolicy, error) {
	return listOf[v1alpha1.ClusterPolicy](ctx, c, guardPath+"clusterpolicies", nil)
}

// Agent is the guard of a node.
type Agent struct {
	Node string
	// pod runs the agent, in a container of that name.
	pod       Pod
	container string
}

// IsReady reports whether it can be asked.
func (a Agent) IsReady() bool { return a.pod.IsReady() && a.pod.DeletionTimestamp == nil }

// String returns the pod that it runs in.
func (a Agent) String() string { return a.pod.String() }

// Phase says how the agent's pod is, for people.
func (a Agent) Phase() string {
	switch {
	case a.pod.DeletionTimestamp != nil:
		return "ending"
	case a.pod.IsReady():
		return "ready"
	}
	return cmp.Or(a.pod.Status.Phase, "unknown") + ", not ready"
}

// agentLabel is what the Helm chart gives the agents' pods, and agentContainer the name of their container.
const (
	agentLabel     = "app.kubernetes.io/name=ebpfguard"
	agentContainer = "ebpfguard"
)

// Agents returns the agents by their nodes, of all nodes or of one.
func (c *Cluster) Agents(ctx context.Context, node string) (map[string]Agent, error) {
	query := url.Values{"labelSelector": {agentLabel}}
	if node != "" {
		query.Set("fieldSelector", "spec.nodeName="+node)
	}
	pods, err := listOf[Pod](ctx, c, podsPath(c.GuardNamespace), query)
	if err != nil {
		return nil, err
	}
	agents := map[string]Agent{}
	for _, p := range pods {
		// Other pods of the chart, such as its cleanup, have the label as well.
		owned := slices.ContainsFunc(p.OwnerReferences, func(o metav1.OwnerReference) bool { return o.Kind == "DaemonSet" })
		if !owned || p.Spec.NodeName == "" || len(p.Spec.Containers) == 0 {
			continue
		}
		a := Agent{Node: p.Spec.NodeName, pod: p, container: p.Spec.Containers[0].Name}
		if slices.ContainsFunc(p.Spec.Containers, func(c Container) bool { return c.Name == agentContainer }) {
			a.container = agentContainer
		}
		// While the agents are updated, a node may have two.
		had, ok := agents[a.Node]
		if !ok || !had.IsReady() && a.IsReady() || had.IsReady() == a.IsReady() && had.pod.CreationTimestamp.Before(&p.CreationTimestamp) {
			agents[a.Node] = a
		}
	}
	return agents, nil
}

// NoAgents says that none was found, and what to do.
func (c *Cluster) NoAgents() error {
	return fmt.Errorf("%w: the namespace %q has no pod of its DaemonSet; name the right one with --guard-namespace", ErrNotInstalled, c.GuardNamespace)
}
