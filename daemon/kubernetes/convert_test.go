package kubernetes

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/ebpfguard/ebpfguard/api/kubernetes/v1alpha1"
	"github.com/ebpfguard/ebpfguard/policy"
)

const rules = "rules: [{operation: socket_bind, deny: [{ports: [22]}]}]"

// read reads the spec of a manifest.
func read[T any](t *testing.T, text string) T {
	t.Helper()
	var spec T
	if err := sigsyaml.UnmarshalStrict([]byte(text), &spec); err != nil {
		t.Fatal(err)
	}
	return spec
}

func TestConvert(t *testing.T) {
	for _, test := range []struct{ name, subject, want string }{
		{"everybody", "{}", "{pods: [{namespaces: [shop]}], identified: true}"},
		{"some pods", "{pods: [{labels: {app: [web]}}, {names: ['db-*'], notLabels: {tier: ['*']}}]}",
			"{pods: [{namespaces: [shop], labels: {app: [web]}}, {namespaces: [shop], names: ['db-*'], notLabels: {tier: ['*']}}], identified: true}"},
		{"its own namespace", "{pods: [{namespaces: [shop, data]}]}", "{pods: [{namespaces: [shop]}], identified: true}"},
		{"programs and users", "{binaries: [/bin/sh], users: [1000]}", "{binaries: [/bin/sh], users: [1000], pods: [{namespaces: [shop]}], identified: true}"},
		{"containers", "{containers: [{images: [nginx]}]}", "{containers: [{images: [nginx]}], pods: [{namespaces: [shop]}], identified: true}"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := &v1alpha1.Policy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "ssh"}}
			p.Spec = read[v1alpha1.PolicySpec](t, "subject: "+test.subject+"\n"+rules)
			got, err := Convert(p)
			if err != nil {
				t.Fatal(err)
			}
			if !got.Delegated {
				t.Error("its exceptions lift what the cluster's policies deny")
			}
			if got.Name != "policy/shop/ssh" || got.Rules[0].Source != "Policy shop/ssh rule 0" {
				t.Errorf("it is called %s, from %s", got.Name, got.Rules[0].Source)
			}
			compareSubjects(t, got.Subject, test.want)
			if problems := policy.Validate([]policy.Policy{got}); problems != nil {
				t.Error(problems)
			}
		})
	}
}

// compareSubjects wants a subject to be that of a policy on a host.
func compareSubjects(t *testing.T, got policy.Subject, want string) {
	t.Helper()
	set, err := policy.Parse("want", []byte("apiVersion: ebpfguard.io/v1alpha1\nkind: Policy\nmetadata: {name: p}\nspec:\n  subject: "+want+"\n  "+rules))
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != set[0].Subject.String() {
		t.Errorf("the subject is %s, want %s", got, set[0].Subject)
	}
}

func TestConvertRefuses(t *testing.T) {
	for _, test := range []struct{ name, subject, want string }{
		{"the host", "{host: true}", "a Policy is about the pods of its namespace; write a ClusterPolicy for hosts"},
		{"another namespace", "{pods: [{namespaces: [data]}]}", `pods: namespaces ["data"] are not this one, "shop"; leave the field out, or write a ClusterPolicy`},
		{"no path", "{binaries: [sh]}", `Policy shop/ssh:`},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := &v1alpha1.Policy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "ssh"}}
			p.Spec = read[v1alpha1.PolicySpec](t, "subject: "+test.subject+"\n"+rules)
			if _, err := Convert(p); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

func TestConvertCluster(t *testing.T) {
	namespaces := map[string]labels.Set{"shop": {"team": "web"}, "data": {"team": "db"}, "kube-system": {}}
	node := labels.Set{"zone": "a"}
	for _, test := range []struct {
		name, spec, want string // no want: it concerns nothing
	}{
		{"everybody", "subject: {}", "{}"},
		{"the host", "subject: {host: true}", "{host: true}"},
		{"this node", "subject: {}\nnodeSelector: {matchLabels: {zone: a}}", "{}"},
		{"another node", "subject: {}\nnodeSelector: {matchLabels: {zone: b}}", ""},
		{"namespaces", "subject: {}\nnamespaceSelector: {matchExpressions: [{key: team, operator: Exists}]}", "{pods: [{namespaces: [data, shop, '-']}]}"},
		{"no namespace", "subject: {}\nnamespaceSelector: {matchLabels: {team: none}}", "{pods: [{namespaces: ['-']}]}"},
		{"all namespaces", "subject: {}\nnamespaceSelector: {}", "{pods: [{namespaces: [data, kube-system, shop, '-']}]}"},
		{"namespaces of both", "subject: {pods: [{namespaces: ['s*', other]}, {namespaces: [data], names: [a]}]}\nnamespaceSelector: {matchLabels: {team: web}}",
			"{pods: [{namespaces: [shop, '-']}, {namespaces: ['-'], names: [a]}]}"},
		{"pods", "subject: {}\npodSelector: {matchLabels: {app: web}, matchExpressions: [{key: tier, operator: In, values: [front, back]}, {key: a, operator: Exists}, {key: b, operator: NotIn, values: [z]}, {key: c, operator: DoesNotExist}]}",
			"{pods: [{labels: {app: [web], tier: [front, back], a: ['*']}, notLabels: {b: [z], c: ['*']}}]}"},
		{"a label several times", "subject: {pods: [{labels: {app: ['w*', db]}, notLabels: {b: [x]}}, {labels: {app: [cache]}}, {}]}\npodSelector: {matchLabels: {app: web}, matchExpressions: [{key: app, operator: In, values: [web, db]}, {key: app, operator: Exists}, {key: b, operator: NotIn, values: [z, x]}]}",
			"{pods: [{labels: {app: [web]}, notLabels: {b: [x, z]}}, {labels: {app: [web]}, notLabels: {b: [z, x]}}]}"},
		{"a label that cannot be", "subject: {}\npodSelector: {matchLabels: {app: web}, matchExpressions: [{key: app, operator: In, values: [db]}]}", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := &v1alpha1.ClusterPolicy{ObjectMeta: metav1.ObjectMeta{Name: "ssh"}}
			p.Spec = read[v1alpha1.ClusterPolicySpec](t, test.spec+"\n"+rules)
			got, concerned, err := ConvertCluster(p, node, namespaces)
			if err != nil {
				t.Fatal(err)
			}
			if got.Delegated {
				t.Error("a namespace's exception lifts what it denies")
			}
			if concerned != (test.want != "") {
				t.Fatalf("it concerns the node: %v", concerned)
			}
			if !concerned {
				return
			}
			compareSubjects(t, got.Subject, test.want)
			if problems := policy.Validate([]policy.Policy{got}); problems != nil || got.Name != "clusterpolicy/ssh" {
				t.Errorf("%s: %v", got.Name, problems)
			}
		})
	}
	overridable := &v1alpha1.ClusterPolicy{ObjectMeta: metav1.ObjectMeta{Name: "ssh"}}
	overridable.Spec = read[v1alpha1.ClusterPolicySpec](t, "subject: {}\noverridable: true\n"+rules)
	if got, _, err := ConvertCluster(overridable, node, namespaces); err != nil || !got.Delegated {
		t.Errorf("one that is overridable is delegated %v: %v", got.Delegated, err)
	}
	for name, spec := range map[string]string{
		"the host by pods": "subject: {host: true}\npodSelector: {}",
		"bad operator":     "subject: {}\npodSelector: {matchExpressions: [{key: a, operator: In}]}",
	} {
		p := &v1alpha1.ClusterPolicy{ObjectMeta: metav1.ObjectMeta{Name: "ssh"}}
		p.Spec = read[v1alpha1.ClusterPolicySpec](t, spec+"\n"+rules)
		if _, _, err := ConvertCluster(p, node, namespaces); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
