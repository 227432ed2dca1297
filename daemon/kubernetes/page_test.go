package kubernetes

import (
	"os"
	"strings"
	"testing"

	sigsyaml "sigs.k8s.io/yaml"

	"github.com/ebpfguard/ebpfguard/api/kubernetes/v1alpha1"
	"github.com/ebpfguard/ebpfguard/policy"
)

// TestPage reads the objects that docs/kubernetes.md shows.
func TestPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/kubernetes.md")
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	for _, part := range strings.Split(string(page), "```yaml\n")[1:] {
		text, _, _ := strings.Cut(part, "```")
		if !strings.Contains(text, "kind: ClusterPolicy") {
			continue
		}
		read++
		var p v1alpha1.ClusterPolicy
		if err := sigsyaml.UnmarshalStrict([]byte(text), &p); err != nil {
			t.Fatalf("%v of\n%s", err, text)
		}
		set, _, err := ConvertCluster(&p, nil, nil)
		if err != nil || policy.Validate([]policy.Policy{set}) != nil {
			t.Errorf("%v of\n%s", err, text)
		}
	}
	if read == 0 {
		t.Error("the page shows no ClusterPolicy")
	}
}
