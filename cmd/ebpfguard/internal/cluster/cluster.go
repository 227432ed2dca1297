// Package cluster asks a Kubernetes cluster from where a person sits, with the rights of that person: for the agents of
// ebpfguard, for pods and policies, and to run the command in an agent's pod.
package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Options say which cluster, as the flags of kubectl do. Empty ones are as kubectl has them.
type Options struct {
	Kubeconfig, Context, Namespace string
	// GuardNamespace is where the agents are.
	GuardNamespace string
}

// Cluster is a cluster, as one user of it sees it. Make it with [Open].
type Cluster struct {
	// Namespace is that of pods which are named without one, GuardNamespace that of the agents.
	Namespace, GuardNamespace string
	config                    *rest.Config
	client                    rest.Interface
}

// Open reads the kubeconfig. It does not connect.
func Open(o Options) (*Cluster, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.Kubeconfig
	overrides := &clientcmd.ConfigOverrides{CurrentContext: o.Context}
	overrides.Context.Namespace = o.Namespace
	reach := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides)
	config, err := reach.ClientConfig()
	if clientcmd.IsEmptyConfig(err) {
		return nil, errors.New("no cluster is configured; name a file with --kubeconfig or $KUBECONFIG")
	}
	if err != nil {
		return nil, fmt.Errorf("the kubeconfig cannot be used: %w", err)
	}
	namespace, _, err := reach.Namespace()
	if err != nil {
		return nil, fmt.Errorf("the kubeconfig cannot be used: %w", err)
	}
	for _, name := range []string{namespace, o.GuardNamespace} {
		if validation.IsDNS1123Label(name) != nil {
			return nil, fmt.Errorf("%q is no name of a namespace; 'kubectl get namespaces' lists them", name)
		}
	}
	// The errors of the API server are the only objects that are read by their kind.
	scheme := runtime.NewScheme()
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	// As kubectl: a person waits, and a list of all nodes has many parts.
	config.QPS, config.Burst = 50, 300
	client, err := rest.UnversionedRESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("the kubeconfig cannot be used: %w", err)
	}
	return &Cluster{Namespace: namespace, GuardNamespace: o.GuardNamespace, config: config, client: client}, nil
}

// pageSize is how many objects the API server is asked for at once.
const pageSize = "500"

// get reads an object.
func (c *Cluster) get(ctx context.Context, path string, into any) error {
	return read(c.client.Get().AbsPath(path).Do(ctx), into)
}

// listOf returns all objects below a path that the query selects.
func listOf[T any](ctx context.Context, c *Cluster, path string, query url.Values) ([]T, error) {
	var all []T
	next := ""
	for {
		request := c.client.Get().AbsPath(path).Param("limit", pageSize)
		for key := range query {
			request.Param(key, query.Get(key))
		}
		if next != "" {
			request.Param("continue", next)
		}
		var page struct {
			Metadata metav1.ListMeta `json:"metadata"`
			Items    []T             `json:"items"`
		}
		if err := read(request.Do(ctx), &page); err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if next = page.Metadata.Continue; next == "" {
			return all, nil
		}
	}
}

// patch changes an object by a merge patch.
func (c *Cluster) patch(ctx context.Context, path string, patch, into any) error {
	data, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	return read(c.client.Patch(types.MergePatchType).AbsPath(path).Body(data).Do(ctx), into)
}

func read(result rest.Result, into any) error {
	if err := result.Error(); err != nil {
		return explain(err)
	}
	data, err := result.Raw()
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("the API server's answer cannot be read: %w", err)
	}
	return nil
}

// explain says what to do about an error of the API server.
func explain(err error) error {
	switch {
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%w; ask who runs the cluster for this right (docs/kubernetes.md lists those of 'kubectl ebpfguard')", err)
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("the API server does not know you: %w; log in again, or choose another --context", err)
	case apierrors.IsNotFound(err) && strings.Contains(err.Error(), "could not find the requested resource"):
		return fmt.Errorf("%w: ebpfguard's resources are not installed in this cluster, or in another version; install its Helm chart", ErrNotInstalled)
	}
	return err
}

// ErrNotInstalled is wrapped when the cluster does not know ebpfguard's objects.
var ErrNotInstalled = errors.New("no ebpfguard in this cluster")
