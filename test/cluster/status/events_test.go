//go:build k8s

package status

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/cluster/controlplane"
)

// TestEvents has a pod's violations told on the pod, and in policy reports.
func TestEvents(t *testing.T) {
	c := newCluster(t, controlplane.Options{})
	c.node("one", nil)
	pod, err := c.admin.CoreV1().Pods("shop").Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec:       corev1.PodSpec{NodeName: "one", Containers: []corev1.Container{{Name: "app", Image: "web"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c.kubectl("", "apply", "-f", "testdata/rbac.yaml")
	a := c.agent("one", agentOptions{events: true, reports: true})

	// Without the definitions of policy reports the agent says so, and goes on.
	eventually(t, 30*time.Second, func() error {
		if err := a.problem("policy reports"); err == nil || !strings.Contains(err.Error(), "install their custom resource definitions") {
			return fmt.Errorf("the problem is %v", err)
		}
		return nil
	})
	alert := func(pod *corev1.Pod, port uint16, verdict policy.Verdict) ebpfguard.Alert {
		ctx := ebpfguard.AlertContext{
			Time: time.Now(), Operation: policy.SocketBind, Verdict: verdict, Policy: "policy/shop/ssh", Rule: 0, Severity: policy.SeverityHigh,
			Message: "no ssh here", Count: 1,
		}
		ctx.Binary = "/usr/sbin/sshd"
		if pod != nil {
			ctx.Container = &policy.Container{ID: "1", Name: "app", Pod: &policy.Pod{Namespace: pod.Namespace, Name: pod.Name, UID: string(pod.UID)}}
		}
		return ebpfguard.SocketBindAlert{AlertContext: ctx, SocketObject: ebpfguard.SocketObject{Address: netip.IPv4Unspecified(), Port: port, Protocol: "tcp"}}
	}
	a.alert <- alert(pod, 22, policy.Deny)
	a.alert <- alert(nil, 23, policy.Audit)
	describes := func(kind, name string, words ...string) func() error {
		return func() error {
			text := c.kubectl("", "describe", kind, name, "-n", "shop")
			_, text, _ = strings.Cut(text, "\nEvents:")
			for _, word := range words {
				if !strings.Contains(text, word) {
					return fmt.Errorf("kubectl describe %s %s lacks %q:\n%s", kind, name, word, text)
				}
			}
			return nil
		}
	}
	eventually(t, 10*time.Second, describes("pod", "web", "Warning", "PolicyDenied", "ebpfguard.io/agent",
		"deny socket_bind 0.0.0.0:22/tcp by /usr/sbin/sshd", "in container app", "policy policy/shop/ssh rule 0: no ssh here"))
	eventually(t, 10*time.Second, describes("node", "one", "PolicyAudited", "0.0.0.0:23/tcp"))

	// More of the kind are a number.
	for range 41 {
		a.alert <- alert(pod, 22, policy.Deny)
	}
	eventually(t, 20*time.Second, describes("pod", "web", "(x42 over"))
	list, err := c.admin.CoreV1().Events("shop").List(t.Context(), metav1.ListOptions{FieldSelector: "reportingComponent=ebpfguard.io/agent"})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != 1 {
		t.Errorf("there are %d events", len(list.Items))
	}

	// A pod that does a lot cannot make many events, and holds up nobody.
	for i := range 500 {
		other := alert(pod, 22, policy.Deny).(ebpfguard.SocketBindAlert)
		other.Rule = i
		a.alert <- other
	}
	time.Sleep(10 * time.Second)
	if list, err = c.admin.CoreV1().Events("shop").List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	if n := len(list.Items); n < 3 || n > 8 {
		t.Errorf("there are %d events of one pod and policy", n)
	}

	// The definitions of policy reports come: an agent that starts makes them of what there is.
	c.kubectl("", "apply", "-f", "testdata/policyreports.yaml")
	c.serves("policyreports.wgpolicyk8s.io", "clusterpolicyreports.wgpolicyk8s.io")
	a.stop()
	c.kubectl("apiVersion: wgpolicyk8s.io/v1alpha2\nkind: PolicyReport\nmetadata: {name: ebpfguard, namespace: default}\n", "create", "-f", "-") // a former leader's
	a = c.agent("one", agentOptions{events: true, reports: true})
	took := eventually(t, 30*time.Second, func() error {
		text := c.kubectl("", "get", "policyreport", "ebpfguard", "-n", "shop", "--ignore-not-found", "-o", `jsonpath={.summary.fail} {.results[?(@.rule=="0")].resources[0].name} {.results[?(@.rule=="0")].properties.count} {.results[?(@.rule=="0")].policy} {.results[?(@.rule=="0")].result}`)
		if want := fmt.Sprintf("%d web 42 shop/ssh fail", len(list.Items)); text != want {
			return fmt.Errorf("the report has %q, want %q", text, want)
		}
		text = c.kubectl("", "get", "clusterpolicyreport", "ebpfguard", "--ignore-not-found", "-o", `jsonpath={.summary.warn} {.results[0].resources[0].kind} {.results[0].result}`)
		if want := "1 Node warn"; text != want {
			return fmt.Errorf("the cluster's report has %q, want %q", text, want)
		}
		if text := c.kubectl("", "get", "policyreport", "-n", "default", "-o", "name"); text != "" {
			return fmt.Errorf("a report of nothing is still there: %s", text)
		}
		return nil
	})
	t.Logf("policy reports are right %v after the start", took.Round(time.Second))
	if err := a.problem("policy reports"); err != nil {
		t.Error(err)
	}

	// What is gone is gone from the reports.
	c.kubectl("", "delete", "events", "--all", "-n", "shop")
	eventually(t, 40*time.Second, func() error {
		if text := c.kubectl("", "get", "policyreport", "-n", "shop", "-o", "name"); text != "" {
			return fmt.Errorf("it is still there: %s", text)
		}
		return nil
	})
	if text := a.log.String(); strings.Contains(text, "level=ERROR") {
		t.Error(text)
	}
}
