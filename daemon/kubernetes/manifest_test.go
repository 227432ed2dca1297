package kubernetes

import (
	"strings"
	"testing"

	sigsyaml "sigs.k8s.io/yaml"

	"github.com/ebpfguard/ebpfguard/api/kubernetes/v1alpha1"
	"github.com/ebpfguard/ebpfguard/internal/policytest"
	"github.com/ebpfguard/ebpfguard/policy"
)

func TestManifest(t *testing.T) {
	const host = `apiVersion: ebpfguard.io/v1alpha1
kind: Policy
metadata: {name: web}
spec:
  delegated: true
  subject: {pods: [{labels: {app: web, tier: [a, b]}}]}
  rules:
  - {operation: socket_bind, allow: all, deny: {ports: [22, 2200-2299]}}
  - {operation: file_open, deny: [all, {paths: [/etc/]}], message: "a: b"}
`
	set, err := policy.Parse("web.yaml", []byte(host))
	if err != nil {
		t.Fatal(err)
	}
	for namespace, want := range map[string]string{
		"": `apiVersion: ebpfguard.io/v1alpha1
kind: ClusterPolicy
metadata:
  name: web
`,
		"shop": `apiVersion: ebpfguard.io/v1alpha1
kind: Policy
metadata:
  name: web
  namespace: shop
`,
	} {
		overridable := ""
		if namespace == "" {
			overridable = "  overridable: true\n"
		}
		want += "spec:\n  mode: enforce\n" + overridable + `  subject:
    pods:
      - {labels: {app: [web], tier: [a, b]}}
  rules:
    - operation: socket_bind
      allow:
        - {all: true}
      deny:
        - {ports: [22, 2200-2299]}
    - operation: file_open
      deny:
        - {all: true}
        - {paths: [/etc/]}
      message: "a: b"
`
		got, err := Manifest(set[0], namespace)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("namespace %q: got\n%s\nwant\n%s", namespace, got, want)
		}
	}
}

func TestManifestRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"metadata: {name: a/b}\nspec: {subject: {}, ":                                  "an object cannot have this name",
		"metadata: {name: a}\nspec: {subject: {processes: [{pid: 4, start: 5}]}, ":     "its subject has processes",
		"metadata: {name: a}\nspec: {subject: {containers: [{ids: [4f2a91c03b7d]}]}, ": "its subject has ids of containers",
		"metadata: {name: a}\nspec: {subject: {pods: [{}], identified: true}, ":        "its subject has identified",
		"metadata: {name: a}\nspec: {until: 5, subject: {}, ":                          "it ends at a time of this host's clock",
		"metadata: {name: a}\nspec: {subject: {host: true}, ":                          "write a ClusterPolicy for hosts",
		"metadata: {name: a}\nspec: {subject: {pods: [{namespaces: [b]}]}, ":           "are not this one",
		"metadata: {name: a}\nspec: {subject: {cgroups: [/system.slice]}, ":            "cannot name control groups",
	} {
		set, err := policy.Parse("p.yaml", []byte("apiVersion: ebpfguard.io/v1alpha1\nkind: Policy\n"+text+"rules: [{operation: file_open, deny: all}]}"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Manifest(set[0], "shop"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

// TestManifestDecides compares random policies with those that agents make of their manifests.
func TestManifestDecides(t *testing.T) {
	for seed := range uint64(500) {
		for _, p := range policytest.With(seed, policytest.Options{Binaries: []string{"/usr/bin/a", "/usr/bin/b"}, Containers: policytest.Containers()}).Set() {
			p.Subject.Identified = false
			text, err := Manifest(p, "")
			if err != nil {
				t.Fatalf("seed %d: %v of\n%s", seed, err, policy.Format([]policy.Policy{p}))
			}
			var object v1alpha1.ClusterPolicy
			if err := sigsyaml.UnmarshalStrict(text, &object); err != nil {
				t.Fatalf("seed %d: %v of\n%s", seed, err, text)
			}
			got, concerned, err := ConvertCluster(&object, nil, nil)
			if err != nil || !concerned {
				t.Fatalf("seed %d: %v of\n%s", seed, err, text)
			}
			got.Name = p.Name
			if got, want := policy.Format([]policy.Policy{got}), policy.Format([]policy.Policy{p}); string(got) != string(want) {
				t.Fatalf("seed %d: got\n%s\nwant\n%s", seed, got, want)
			}
		}
	}
}
