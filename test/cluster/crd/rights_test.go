//go:build k8s

package crd

import (
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// grant lets somebody do all that a role could allow of these resources: what is refused then, admission refuses.
func grant(t *testing.T, client kubernetes.Interface, name string, subject rbacv1.Subject, rules ...rbacv1.PolicyRule) {
	t.Helper()
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules}
	if _, err := client.RbacV1().ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Subjects: []rbacv1.Subject{subject},
		RoleRef: rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: name},
	}
	if _, err := client.RbacV1().ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func clientset(t *testing.T, config *rest.Config) *kubernetes.Clientset {
	t.Helper()
	c, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// agent returns how to reach the API server as the agent's pod of a node does, and by a token that belongs to no pod.
func agent(t *testing.T, client kubernetes.Interface, node string) (bound, loose *rest.Config) {
	t.Helper()
	if _, err := client.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	pod, err := client.CoreV1().Pods(Namespace).Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "agent-" + node},
		Spec:       corev1.PodSpec{NodeName: node, ServiceAccountName: "ebpfguard", Containers: []corev1.Container{{Name: "agent", Image: "ebpfguard"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	token := func(r *authenticationv1.BoundObjectReference) *rest.Config {
		made, err := client.CoreV1().ServiceAccounts(Namespace).CreateToken(t.Context(), "ebpfguard",
			&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: r}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return plane.Bearer(made.Status.Token)
	}
	return token(&authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID}), token(nil)
}

// TestNodeStatus lets the agents' account write every NodeStatus, of which an agent then can write its own node's only.
func TestNodeStatus(t *testing.T) {
	admin := clientset(t, plane.Admin())
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "ebpfguard"}}
	if _, err := admin.CoreV1().ServiceAccounts(Namespace).Create(t.Context(), account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	grant(t, admin, "agents", rbacv1.Subject{Kind: "ServiceAccount", Name: "ebpfguard", Namespace: Namespace},
		rbacv1.PolicyRule{APIGroups: []string{"ebpfguard.io"}, Resources: []string{"nodestatuses", "nodestatuses/status"}, Verbs: []string{"*"}})
	one, loose := agent(t, admin, "node-1")
	two, _ := agent(t, admin, "node-2")

	apply := func(config *rest.Config, node string, subresources ...string) error {
		client, err := dynamic.NewForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "ebpfguard.io/v1alpha1", "kind": "NodeStatus", "status": map[string]any{"version": "1"}}}
		o.SetName(node)
		_, err = client.Resource(resources["NodeStatus"]).Apply(t.Context(), node, o, metav1.ApplyOptions{FieldManager: "agent", Force: true}, subresources...)
		return err
	}
	for _, test := range []struct {
		name   string
		config *rest.Config
		node   string
		taken  bool
	}{
		{"its own", one, "node-1", true},
		{"another's, which is not there", one, "node-2", false},
		{"the other's own", two, "node-2", true},
		{"another's, which is there", one, "node-2", false},
		{"one of no node", one, "node-3", false},
		{"by a token of no pod", loose, "node-1", false},
		{"by an administrator", plane.Admin(), "node-3", true},
	} {
		for _, subresources := range [][]string{nil, {"status"}} {
			err := apply(test.config, test.node, subresources...)
			switch {
			case test.taken && err != nil:
				t.Errorf("%s %v: %v", test.name, subresources, err)
			case !test.taken && (err == nil || !strings.Contains(err.Error(), "an agent writes the NodeStatus of its own node only")):
				// A status of what is not there is not found before admission is asked.
				if len(subresources) == 0 || !apierrors.IsNotFound(err) {
					t.Errorf("%s %v: got %v, want that it is refused", test.name, subresources, err)
				}
			}
		}
	}
}

// TestAnnotation has somebody who may write pods: only those that a node cannot do without start without the guard.
func TestAnnotation(t *testing.T) {
	admin := clientset(t, plane.Admin())
	for namespace, taken := range map[string]bool{"data": false, "kube-system": true} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "without", Annotations: map[string]string{"ebpfguard.io/may-start-without": "true"}}}
		pod.Spec.Containers = []corev1.Container{{Name: "web", Image: "nginx"}}
		_, err := admin.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{})
		if taken && err != nil || !taken && (!apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "may-start-without is for pods of kube-system")) {
			t.Errorf("in %s: %v", namespace, err)
		}
	}
}

// TestLabels has somebody who may write pods and namespaces, but no ClusterPolicies: the labels of the guard are not his.
func TestLabels(t *testing.T) {
	admin := clientset(t, plane.Admin())
	writes := rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods", "namespaces"}, Verbs: []string{"*"}}
	grant(t, admin, "tenant", rbacv1.Subject{Kind: "User", Name: "tenant"}, writes)
	grant(t, admin, "responder", rbacv1.Subject{Kind: "User", Name: "responder"}, writes,
		rbacv1.PolicyRule{APIGroups: []string{"ebpfguard.io"}, Resources: []string{"clusterpolicies"}, Verbs: []string{"update"}})
	for _, pod := range []*corev1.Pod{
		{ObjectMeta: metav1.ObjectMeta{Name: "web", Labels: map[string]string{"app": "web"}}},
		{ObjectMeta: metav1.ObjectMeta{Name: "caught", Labels: map[string]string{"app": "web", "ebpfguard.io/quarantine": "true"}}},
	} {
		pod.Spec.Containers = []corev1.Container{{Name: "web", Image: "nginx"}}
		if _, err := clientset(t, plane.User("tenant")).CoreV1().Pods("data").Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	patch := func(user, kind, name, labels string) error {
		client, text := clientset(t, plane.User(user)), []byte(`{"metadata":{"labels":`+labels+`}}`)
		var err error
		if kind == "namespace" {
			_, err = client.CoreV1().Namespaces().Patch(t.Context(), name, types.MergePatchType, text, metav1.PatchOptions{})
		} else {
			_, err = client.CoreV1().Pods("data").Patch(t.Context(), name, types.MergePatchType, text, metav1.PatchOptions{})
		}
		return err
	}
	for _, test := range []struct {
		user, kind, name, labels string
		taken                    bool
	}{
		{"tenant", "pod", "web", `{"app":"shop"}`, true},
		{"tenant", "pod", "caught", `{"app":"shop"}`, true},
		{"tenant", "pod", "caught", `{"ebpfguard.io/quarantine":null}`, false},
		{"tenant", "pod", "caught", `{"ebpfguard.io/quarantine":"false"}`, false},
		{"tenant", "pod", "web", `{"ebpfguard.io/trusted":"true"}`, false},
		{"tenant", "namespace", "data", `{"team":"db"}`, true},
		{"tenant", "namespace", "data", `{"ebpfguard.io/trusted":"true"}`, false},
		{"responder", "pod", "web", `{"ebpfguard.io/quarantine":"true"}`, true},
		{"responder", "pod", "caught", `{"ebpfguard.io/quarantine":null}`, true},
		{"responder", "namespace", "data", `{"ebpfguard.io/trusted":"true"}`, true},
		{"tenant", "namespace", "data", `{"ebpfguard.io/trusted":null}`, false},
		{"responder", "namespace", "data", `{"ebpfguard.io/trusted":null}`, true},
	} {
		err := patch(test.user, test.kind, test.name, test.labels)
		if test.taken && err != nil || !test.taken && (!apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "labels that begin with ebpfguard.io/")) {
			t.Errorf("%s labels %s %s %s: %v", test.user, test.kind, test.name, test.labels, err)
		}
	}
	_, err := clientset(t, plane.User("tenant")).CoreV1().Namespaces().Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "new", Labels: map[string]string{"ebpfguard.io/trusted": "true"}}}, metav1.CreateOptions{})
	if !apierrors.IsForbidden(err) {
		t.Errorf("a tenant makes a namespace with a label of the guard: %v", err)
	}
}
