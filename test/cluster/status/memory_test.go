//go:build k8s

package status

import (
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/daemon/config"
	"github.com/ebpfguard/ebpfguard/test/cluster/controlplane"
)

// mostMemory is how much more a daemon may take that is an agent, and the leader of one node.
const mostMemory = 20 << 20

// TestMemory compares a daemon that is an agent with one that is not.
func TestMemory(t *testing.T) {
	c := newCluster(t, controlplane.Options{})
	c.node("one", nil)
	const pods, policies = 110, 50
	for i := range pods {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("web-%d", i), Labels: map[string]string{"app": "web", "pod-template-hash": "7f6d"}},
			Spec:       corev1.PodSpec{NodeName: "one", Containers: []corev1.Container{{Name: "app", Image: "web"}}},
		}
		if _, err := c.admin.CoreV1().Pods("shop").Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	var all strings.Builder
	for i := range policies {
		all.WriteString(bind("Policy", fmt.Sprintf("name: p%d, namespace: shop", i), ""))
	}
	c.kubectl(all.String(), "apply", "-f", "-")
	dir, err := os.MkdirTemp("", "guard")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	// resident starts a daemon, lets it come to rest and returns what this process takes then.
	resident := func(agent bool) int64 {
		d := c.daemon("one", dir, func(o *config.Config) { o.Kubernetes = agent })
		defer d.stop()
		if agent {
			eventually(t, time.Minute, c.has("namespaces/shop/policies/p49", "1/1 0 Accepted=True/InForce Enforced=True/InForce Degraded=False/NoProblem"))
		}
		time.Sleep(10 * time.Second)
		debug.FreeOSMemory()
		s, err := d.client.Status(t.Context(), &pb.StatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return int64(s.GetResidentBytes())
	}
	without := resident(false)
	with := resident(true)
	t.Logf("resident: %.1f MiB without the cluster, %.1f MiB with %d policies and %d pods: %.1f MiB more",
		float64(without)/(1<<20), float64(with)/(1<<20), policies, pods, float64(with-without)/(1<<20))
	if with-without > mostMemory {
		t.Errorf("an agent takes %d bytes more, at most %d are allowed", with-without, mostMemory)
	}
}
