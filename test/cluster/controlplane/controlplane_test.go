//go:build k8s

package controlplane

import (
	"os"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

func client(t *testing.T, config *rest.Config) *kubernetes.Clientset {
	t.Helper()
	c, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestUsers has an administrator and somebody who may nothing, and takes the API server away for a while.
func TestUsers(t *testing.T) {
	began := time.Now()
	c := New(t, Options{})
	t.Logf("the API server was ready after %v", time.Since(began))
	admin := client(t, c.Admin())

	version, err := admin.Discovery().ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	module, err := os.ReadFile("../kubernetes/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if want := "k8s.io/kubernetes " + version.GitVersion; !strings.Contains(string(module), want) {
		t.Errorf("the API server says that it is %s, which test/cluster/kubernetes/go.mod does not require", version.GitVersion)
	}
	config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "kept"}}
	if _, err := admin.CoreV1().ConfigMaps("default").Create(t.Context(), config, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err = client(t, c.User("nobody")).CoreV1().ConfigMaps("default").Get(t.Context(), "kept", metav1.GetOptions{})
	if !apierrors.IsForbidden(err) {
		t.Errorf("somebody without rights got %v, want that it is forbidden", err)
	}

	c.StopAPIServer()
	if _, err := admin.CoreV1().ConfigMaps("default").Get(t.Context(), "kept", metav1.GetOptions{}); err == nil {
		t.Error("an API server that was stopped answers")
	}
	if err := c.StartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.CoreV1().ConfigMaps("default").Get(t.Context(), "kept", metav1.GetOptions{}); err != nil {
		t.Errorf("the API server that is back: %v", err)
	}
	out, err := c.Kubectl("get", "configmap", "kept", "--output", "name").CombinedOutput()
	if err != nil || string(out) != "configmap/kept\n" {
		t.Errorf("kubectl printed %q, %v", out, err)
	}
}

// TestControllers has a token of a service account that is bound to a pod of a node, as an agent's is.
func TestControllers(t *testing.T) {
	c := New(t, Options{Controllers: true, Scheduler: true})
	admin := client(t, c.Admin())
	ctx := t.Context()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1"}}
	if _, err := admin.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "agent"},
		Spec:       corev1.PodSpec{NodeName: "node-1", Containers: []corev1.Container{{Name: "main", Image: "none"}}},
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		made, err := admin.CoreV1().Pods("default").Create(ctx, pod, metav1.CreateOptions{})
		if err == nil {
			pod = made
			break
		}
		// The controller makes the account soon.
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
	}}
	token, err := admin.CoreV1().ServiceAccounts("default").CreateToken(ctx, "default", request, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	review, err := client(t, c.Bearer(token.Status.Token)).AuthenticationV1().SelfSubjectReviews().
		Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := review.Status.UserInfo.Extra["authentication.kubernetes.io/node-name"]; len(got) != 1 || got[0] != "node-1" {
		t.Errorf("the API server takes the token for %+v, want one of node-1", review.Status.UserInfo)
	}
}
