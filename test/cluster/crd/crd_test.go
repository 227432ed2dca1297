//go:build k8s

package crd

import (
	"context"
	"fmt"
	"os"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/ebpfguard/ebpfguard/test/cluster/controlplane"
)

// One control plane serves all tests here: they ask it what it would do, and change nothing that another sees.
var plane *controlplane.ControlPlane

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx := context.Background()
	var err error
	plane, err = controlplane.Start(ctx, controlplane.Options{Warn: func(s string) { fmt.Fprintln(os.Stderr, s) }})
	if err == nil {
		defer plane.Stop()
		err = Install(ctx, plane.Admin())
	}
	if err == nil {
		err = createNamespaces(ctx, "shop", "data", Namespace)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func createNamespaces(ctx context.Context, names ...string) error {
	client, err := kubernetes.NewForConfig(plane.Admin())
	if err != nil {
		return err
	}
	for _, name := range names {
		n := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if _, err := client.CoreV1().Namespaces().Create(ctx, n, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	return nil
}

// object returns the object that a YAML text is, of a kind and name, with a namespace if the kind has one.
func object(t *testing.T, kind, name, spec string) *unstructured.Unstructured {
	t.Helper()
	content := map[string]any{}
	if err := yaml.Unmarshal([]byte(spec), &content); err != nil {
		t.Fatalf("%v of\n%s", err, spec)
	}
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "ebpfguard.io/v1alpha1", "kind": kind, "spec": content}}
	o.SetName(name)
	if kind == "Policy" {
		o.SetNamespace("shop")
	}
	return o
}

// ask returns what the API server would store, or why it refuses.
func ask(t *testing.T, config *rest.Config, o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	t.Helper()
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return at(client, o).Create(t.Context(), o, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict})
}

// at returns where an object is.
func at(client dynamic.Interface, o *unstructured.Unstructured) dynamic.ResourceInterface {
	resource := client.Resource(resources[o.GetKind()])
	if o.GetNamespace() == "" {
		return resource
	}
	return resource.Namespace(o.GetNamespace())
}
