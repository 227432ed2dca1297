// Package crd tells what the API server takes of policies, and gives it the definitions and admission policies of the chart
// for other tests.
package crd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/ebpfguard/ebpfguard/internal/vmtest"
)

// Namespace is the one that the admission policies take for the guard's own.
const Namespace = "ebpfguard"

// resources are the kinds that the chart's files have, by their names in paths.
var resources = map[string]schema.GroupVersionResource{
	"CustomResourceDefinition":         {Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"},
	"ValidatingAdmissionPolicy":        {Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingadmissionpolicies"},
	"ValidatingAdmissionPolicyBinding": {Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingadmissionpolicybindings"},
	"Policy":                           {Group: "ebpfguard.io", Version: "v1alpha1", Resource: "policies"},
	"ClusterPolicy":                    {Group: "ebpfguard.io", Version: "v1alpha1", Resource: "clusterpolicies"},
	"NodeStatus":                       {Group: "ebpfguard.io", Version: "v1alpha1", Resource: "nodestatuses"},
}

// Install gives the API server what the chart has of definitions, admission policies and nothing else, and waits until
// they count.
func Install(ctx context.Context, config *rest.Config) error {
	working, err := os.Getwd()
	if err != nil {
		return err
	}
	chart := filepath.Join(vmtest.Root(working), "deploy/helm/ebpfguard")
	definitions, err := filepath.Glob(filepath.Join(chart, "files/crds/*.yaml"))
	if err != nil || len(definitions) == 0 {
		return fmt.Errorf("%s has no definitions: %w", chart, err)
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	for _, path := range definitions {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := create(ctx, client, text); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	admission, err := render(filepath.Join(chart, "templates/admission.yaml"))
	if err != nil {
		return err
	}
	if err := create(ctx, client, admission); err != nil {
		return err
	}
	return wait(ctx, client)
}

// render makes of a template of the chart, which needs nothing of Helm but these functions, what Helm does.
func render(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	t, err := template.New("chart").Funcs(template.FuncMap{
		"include": func(string, any) string { return "app.kubernetes.io/name: ebpfguard" },
		"nindent": func(n int, s string) string { return "\n" + strings.Repeat(" ", n) + s },
	}).Parse(string(text))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = t.Execute(&out, map[string]any{"Release": map[string]string{"Namespace": Namespace}})
	return out.Bytes(), err
}

// create creates the objects of a file.
func create(ctx context.Context, client dynamic.Interface, text []byte) error {
	documents := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 1<<16)
	for {
		var object unstructured.Unstructured
		switch err := documents.Decode(&object); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		resource, ok := resources[object.GetKind()]
		if !ok {
			return fmt.Errorf("nobody knows what a %s is called in paths", object.GetKind())
		}
		if _, err := client.Resource(resource).Create(ctx, &object, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
}

// wait waits until the API server serves the definitions and refuses what only an admission policy does, of each that
// can be asked so.
func wait(ctx context.Context, client dynamic.Interface) error {
	const spec = `"subject":{},"rules":[{"operation":"task_fix_setuid","deny":[{"to":{"uids":[5000000000]}}]}]`
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, kind := range []string{"Policy", "ClusterPolicy"} {
		for {
			var object unstructured.Unstructured
			text := fmt.Sprintf(`{"apiVersion":"ebpfguard.io/v1alpha1","kind":"%s","metadata":{"name":"wait"},"spec":{%s}}`, kind, spec)
			if err := object.UnmarshalJSON([]byte(text)); err != nil {
				return err
			}
			at := dynamic.ResourceInterface(client.Resource(resources[kind]))
			if kind == "Policy" {
				object.SetNamespace("default")
				at = client.Resource(resources[kind]).Namespace("default")
			}
			_, err := at.Create(ctx, &object, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			if apierrors.IsInvalid(err) && strings.Contains(err.Error(), "there is no id") {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("the admission policies do not count: %w", err)
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	return nil
}
