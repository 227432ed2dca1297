//go:build k8s

package crd

import (
	"bytes"
	"encoding/json"
	"maps"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/ebpfguard/ebpfguard/api/kubernetes/v1alpha1"
	"github.com/ebpfguard/ebpfguard/daemon/kubernetes"
	"github.com/ebpfguard/ebpfguard/policy"
)

// namespaces are those that policies of these tests can select by labels.
var namespaces = map[string]labels.Set{"shop": {"team": "web"}, "data": {"team": "db"}}

// hostTakes reports whether an agent takes an object, as it reads it and as `ebpfguard validate` reads its spec.
func hostTakes(t *testing.T, o *unstructured.Unstructured) bool {
	t.Helper()
	_, err := judge(t, o)
	return err == nil
}

// judge returns an object's policy as an agent has it, or why it refuses it.
func judge(t *testing.T, o *unstructured.Unstructured) (policy.Policy, error) {
	t.Helper()
	text, err := json.Marshal(o.Object)
	if err != nil {
		t.Fatal(err)
	}
	converted, err := convert(o, text)
	if err == nil {
		err = policy.Validate([]policy.Policy{converted})
	}
	if err != nil {
		return policy.Policy{}, err
	}
	// The spec on a host.
	spec, _ := o.Object["spec"].(map[string]any)
	spec = maps.Clone(spec)
	for _, key := range []string{"namespaceSelector", "podSelector", "nodeSelector", "overridable"} {
		delete(spec, key)
	}
	document, err := json.Marshal(map[string]any{
		"apiVersion": policy.APIVersion, "kind": policy.Kind, "metadata": map[string]any{"name": converted.Name}, "spec": spec,
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = policy.Parse("object", document)
	return converted, err
}

func convert(o *unstructured.Unstructured, text []byte) (policy.Policy, error) {
	decode := json.NewDecoder(bytes.NewReader(text))
	decode.DisallowUnknownFields()
	if o.GetKind() == "Policy" {
		var p v1alpha1.Policy
		if err := decode.Decode(&p); err != nil {
			return policy.Policy{}, err
		}
		return kubernetes.Convert(&p)
	}
	var p v1alpha1.ClusterPolicy
	if err := decode.Decode(&p); err != nil {
		return policy.Policy{}, err
	}
	converted, _, err := kubernetes.ConvertCluster(&p, labels.Set{}, namespaces)
	return converted, err
}
