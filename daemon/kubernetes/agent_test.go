package kubernetes

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/ebpfguard/ebpfguard/api/kubernetes/v1alpha1"
	"github.com/ebpfguard/ebpfguard/policy"
)

// TestReplace has the caches hold objects, as if the API server had told of them.
func TestReplace(t *testing.T) {
	var inForce, namespaces []string
	var log strings.Builder
	a, err := New(Options{
		Config: &rest.Config{Host: "http://192.0.2.1"}, Node: "one", Log: slog.New(slog.NewTextHandler(&log, nil)),
		Namespaces: func(names []string) error { namespaces = names; return nil },
		Replace: func(set []policy.Policy, broken []string) (Replaced, error) {
			inForce = nil
			refused := map[string]error{}
			for _, p := range set {
				if p.Name == "policy/shop/gap" {
					refused[p.Name] = errors.New("this kernel cannot")
					continue
				}
				inForce = append(inForce, p.Name)
			}
			return Replaced{Refused: refused, Former: map[string]bool{"policy/shop/host": slices.Contains(broken, "policy/shop/host")}}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	put := func(o any, store interface{ Add(any) error }) {
		if err := store.Add(o); err != nil {
			t.Fatal(err)
		}
	}
	namespaced := func(namespace, name, subject string) {
		p := &v1alpha1.Policy{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
		p.Spec = read[v1alpha1.PolicySpec](t, "subject: "+subject+"\n"+rules)
		put(p, a.policies)
	}
	cluster := func(name, spec string) {
		p := &v1alpha1.ClusterPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}}
		p.Spec = read[v1alpha1.ClusterPolicySpec](t, spec+"\n"+rules)
		put(p, a.clusterPolicies)
	}
	put(&Node{ObjectMeta: metav1.ObjectMeta{Name: "one", Labels: map[string]string{"zone": "a"}}}, a.nodes)
	put(&Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: map[string]string{"team": "web"}}}, a.namespaces)
	namespaced("shop", "ssh", "{}")
	namespaced("shop", "gap", "{}")
	namespaced("shop", "host", "{host: true}")
	cluster("here", "subject: {}\nnodeSelector: {matchLabels: {zone: a}}")
	cluster("elsewhere", "subject: {}\nnodeSelector: {matchLabels: {zone: b}}")
	cluster("team", "subject: {}\nnamespaceSelector: {matchLabels: {team: web}}")
	cluster("nobody", "subject: {}\nnamespaceSelector: {matchLabels: {team: none}}")

	host := namespacedName("shop", "host")
	a.inForce[host] = version{generation: 4} // before it was edited
	a.replace()
	outcomes := a.outcomes
	if a.inForce[host].generation != 4 || fmt.Sprint(namespaces) != "[shop]" {
		t.Errorf("in force are the generations %v, made for %s", a.inForce, namespaces)
	}
	if got, want := fmt.Sprint(inForce), "[clusterpolicy/here clusterpolicy/nobody clusterpolicy/team policy/shop/ssh]"; got != want {
		t.Errorf("in force are %s, want %s", got, want)
	}
	var wrong []string
	for _, o := range outcomes {
		if o.err != nil {
			wrong = append(wrong, o.name)
		}
	}
	if got, want := fmt.Sprint(wrong, len(outcomes)), "[policy/shop/gap policy/shop/host] 6"; got != want {
		t.Errorf("wrong are %s, want %s; %s", got, want, log.String())
	}

	// A namespace gets a label: the policy concerns its pods as well.
	put(&Namespace{ObjectMeta: metav1.ObjectMeta{Name: "data", Labels: map[string]string{"team": "none"}}}, a.namespaces)
	a.replace()
	if got, want := fmt.Sprint(inForce), "[clusterpolicy/here clusterpolicy/nobody clusterpolicy/team policy/shop/ssh]"; got != want {
		t.Errorf("in force are %s, want %s", got, want)
	}
}

func TestNodePods(t *testing.T) {
	a, err := New(Options{Config: &rest.Config{Host: "http://192.0.2.1"}, Node: "one"})
	if err != nil {
		t.Fatal(err)
	}
	yes := true
	web := &Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: "web-7f6d-x", UID: "1", Labels: map[string]string{"app": "web", "pod-template-hash": "7f6d"},
		OwnerReferences: []metav1.OwnerReference{{Kind: "ReplicaSet", Name: "web-7f6d", Controller: &yes}, {Kind: "Deployment", Name: "held"}},
	}}
	web.Spec.ServiceAccountName = "web"
	db := &Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "db-0", UID: "2", OwnerReferences: []metav1.OwnerReference{{Kind: "StatefulSet", Name: "db", Controller: &yes}}}}
	for _, p := range []*Pod{web, db, {ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "alone", UID: "3"}},
		{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "etcd-one", UID: "4", Annotations: map[string]string{mirrorAnnotation: "f00"}}}} {
		if err := a.pods.Add(p); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]policy.Pod{
		"1":   {Namespace: "shop", Name: "web-7f6d-x", UID: "1", Labels: web.Labels, ServiceAccount: "web", Owners: []string{"ReplicaSet/web-7f6d", "Deployment/web"}},
		"2":   {Namespace: "shop", Name: "db-0", UID: "2", ServiceAccount: "default", Owners: []string{"StatefulSet/db"}},
		"3":   {Namespace: "shop", Name: "alone", UID: "3", ServiceAccount: "default"},
		"f00": {Namespace: "kube-system", Name: "etcd-one", UID: "f00", ServiceAccount: "default"}, // the runtime knows it so
	}
	if got := a.nodePods(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// TestMaxPolicies has a namespace with more policies than one may have: the oldest are in force.
func TestMaxPolicies(t *testing.T) {
	a := testAgent(t, Options{})
	put := func(namespace, name string, made int64) {
		p := &v1alpha1.Policy{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, CreationTimestamp: metav1.Unix(made, 0)}}
		p.Spec = read[v1alpha1.PolicySpec](t, "subject: {}\n"+rules)
		if err := a.policies.Add(p); err != nil {
			t.Fatal(err)
		}
	}
	put("shop", "latest", 1000)
	put("data", "other", 2000)
	for i := range int64(maxPolicies) {
		put("shop", fmt.Sprint("z", i), i)
	}
	set, outcomes, _ := a.set()
	if len(set) != maxPolicies+1 || len(outcomes) != maxPolicies+2 {
		t.Fatalf("%d of %d are in force", len(set), len(outcomes))
	}
	for _, o := range outcomes {
		if late := o.name == "policy/shop/latest"; late != (o.err != nil) || late && !strings.Contains(o.err.Error(), "more than 64 policies") {
			t.Errorf("%s: %v", o.name, o.err)
		}
	}
}
