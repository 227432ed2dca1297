//go:build k8s

package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientset "k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/api/kubernetes/v1alpha1"
	"github.com/ebpfguard/ebpfguard/daemon/kubernetes"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/cluster/controlplane"
)

// namespace is where the agents are, user who they are.
const (
	namespace = "ebpfguard"
	user      = "system:serviceaccount:ebpfguard:ebpfguard"
)

// agentOf is who the agent of a node is: its pod's token has the name of the node.
func agentOf(node string) rest.ImpersonationConfig {
	return rest.ImpersonationConfig{
		UserName: user, Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"},
		Extra: map[string][]string{"authentication.kubernetes.io/node-name": {node}},
	}
}

// cluster is an API server where ebpfguard is installed.
type cluster struct {
	t *testing.T
	*controlplane.ControlPlane
	admin *clientset.Clientset
}

func newCluster(t *testing.T, o controlplane.Options) *cluster {
	t.Helper()
	c := &cluster{t: t, ControlPlane: controlplane.New(t, o)}
	var err error
	if c.admin, err = clientset.NewForConfig(c.Admin()); err != nil {
		t.Fatal(err)
	}
	// With the roles and the admission that agents have to live with. Its DaemonSet makes no pods here.
	c.kubectl("", "apply", "-f", "../../../deploy/kubernetes/install.yaml")
	c.serves("policies.ebpfguard.io", "clusterpolicies.ebpfguard.io", "nodestatuses.ebpfguard.io")
	c.kubectl("", "create", "namespace", "shop")
	return c
}

// kubectl runs it with an input and returns what it prints.
func (c *cluster) kubectl(input string, arguments ...string) string {
	c.t.Helper()
	cmd := c.Kubectl(arguments...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.t.Fatalf("kubectl %s: %v: %s", strings.Join(arguments, " "), err, out)
	}
	return string(out)
}

// serves waits until the API server has these kinds of objects.
func (c *cluster) serves(kinds ...string) {
	c.t.Helper()
	for _, kind := range kinds {
		eventually(c.t, 20*time.Second, func() error { return c.Kubectl("get", kind, "-A").Run() })
	}
}

// node makes a node with labels.
func (c *cluster) node(name string, labels map[string]string) {
	c.t.Helper()
	all := map[string]string{"kubernetes.io/os": "linux"}
	maps.Copy(all, labels)
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: all}}
	if _, err := c.admin.CoreV1().Nodes().Create(c.t.Context(), n, metav1.CreateOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

// get reads an object of ours.
func get[T any](c *cluster, path string) (T, error) {
	var object T
	raw, err := c.admin.RESTClient().Get().AbsPath("/apis/ebpfguard.io/v1alpha1/" + path).DoRaw(context.WithoutCancel(c.t.Context()))
	if err == nil {
		err = json.Unmarshal(raw, &object)
	}
	return object, err
}

// bind is a policy that forbids a port; kind, name and more of the spec are given.
func bind(kind, meta, more string) string {
	return fmt.Sprintf(`apiVersion: ebpfguard.io/v1alpha1
kind: %s
metadata: {%s}
spec:
  subject: {}
  rules: [{operation: socket_bind, deny: [{ports: [22]}]}]
%s---
`, kind, meta, more)
}

// simulated is an agent whose guard is simulated.
type simulated struct {
	cancel context.CancelFunc
	// dead cuts its connections.
	dead  atomic.Bool
	done  chan struct{}
	log   *log
	alert chan ebpfguard.Alert

	mu       sync.Mutex
	set      []policy.Policy
	problems map[string]error
	denials  map[string]uint64
}

// agentOptions are what differs between simulated agents.
type agentOptions struct {
	// refuse are the names of policies in the set that its guard refuses.
	refuse  []string
	events  bool
	reports bool
	traffic *traffic
}

func (c *cluster) agent(node string, o agentOptions) *simulated {
	c.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &simulated{cancel: cancel, done: make(chan struct{}), log: &log{}, alert: make(chan ebpfguard.Alert, 1000), problems: map[string]error{}, denials: map[string]uint64{}}
	config := c.Admin()
	config.Impersonate = agentOf(node)
	if o.traffic == nil {
		o.traffic = &traffic{}
	}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &line{next, s, o.traffic} })
	options := kubernetes.Options{
		Config: config, Node: node, Namespace: namespace, Log: slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})), PolicyReports: o.reports,
		Pods:       func(map[string]policy.Pod) error { return nil },
		Namespaces: func([]string) error { return nil },
		Replace: func(set []policy.Policy, _ []string) (kubernetes.Replaced, error) {
			refused := map[string]error{}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.set = nil
			for _, p := range set {
				for _, name := range o.refuse {
					if p.Name == name {
						refused[name] = errors.New("this kernel has no such hook; use a later one")
					}
				}
				if refused[p.Name] == nil {
					s.set = append(s.set, p)
				}
			}
			return kubernetes.Replaced{Refused: refused}, nil
		},
		Report: func() (kubernetes.Report, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			return kubernetes.Report{Version: "test", Kernel: "6.12.0", Revision: 1, Gaps: []string{"sb_mount: mount_setattr(2): no hook"}, Denials: maps.Clone(s.denials)}, nil
		},
		Problem: func(about string, err error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if err == nil {
				delete(s.problems, about)
			} else {
				s.problems[about] = err
			}
		},
	}
	if o.events {
		options.Alerts = func(ctx context.Context) (iter.Seq2[ebpfguard.Alert, error], error) {
			return func(yield func(ebpfguard.Alert, error) bool) {
				for {
					select {
					case <-ctx.Done():
						return
					case a := <-s.alert:
						if !yield(a, nil) {
							return
						}
					}
				}
			}, nil
		}
	}
	a, err := kubernetes.New(options)
	if err != nil {
		c.t.Fatal(err)
	}
	go func() {
		defer close(s.done)
		_ = a.Run(ctx) // it ends with the context
	}()
	c.t.Cleanup(s.stop)
	return s
}

// stop ends an agent as systemd does.
func (s *simulated) stop() {
	s.cancel()
	<-s.done
}

// die ends it as SIGKILL does: nothing more is sent.
func (s *simulated) die() {
	s.dead.Store(true)
	s.stop()
}

// count sets how often a policy refused something.
func (s *simulated) count(name string, denials uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.denials[name] = denials
}

// names returns the names of the policies in force.
func (s *simulated) names() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, p := range s.set {
		all = append(all, p.Name)
	}
	return fmt.Sprint(all, s.problems)
}

func (s *simulated) problem(about string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.problems[about]
}

// log takes messages.
type log struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// traffic counts what agents send to the API server, and the bytes that they get.
type traffic struct {
	mu       sync.Mutex
	requests map[string]int
	sent     atomic.Int64
	got      atomic.Int64
}

// reset returns the counters and begins anew.
func (t *traffic) reset() (requests map[string]int, sent, got int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	requests, t.requests = t.requests, nil
	return requests, t.sent.Swap(0), t.got.Swap(0)
}

// line is an agent's connection.
type line struct {
	next    http.RoundTripper
	agent   *simulated
	traffic *traffic
}

var errDead = errors.New("this agent is dead")

func (l *line) RoundTrip(r *http.Request) (*http.Response, error) {
	if l.agent.dead.Load() {
		return nil, errDead
	}
	what := r.Method + " " + resource(r)
	l.traffic.mu.Lock()
	if l.traffic.requests == nil {
		l.traffic.requests = map[string]int{}
	}
	l.traffic.requests[what]++
	l.traffic.mu.Unlock()
	l.traffic.sent.Add(max(r.ContentLength, 0))
	response, err := l.next.RoundTrip(r)
	if err == nil {
		response.Body = &counted{response.Body, &l.traffic.got}
	}
	return response, err
}

// resource is what a request is about.
func resource(r *http.Request) string {
	for _, name := range []string{"nodestatuses", "clusterpolicies", "policies", "leases", "events", "policyreports", "pods", "nodes", "namespaces"} {
		if strings.Contains(r.URL.Path, "/"+name) {
			if r.URL.Query().Has("watch") {
				return name + " (watch)"
			}
			return name
		}
	}
	return r.URL.Path
}

type counted struct {
	io.ReadCloser
	n *atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// eventually waits until a check finds nothing wrong, and returns how long that took.
func eventually(t *testing.T, most time.Duration, check func() error) time.Duration {
	t.Helper()
	began := time.Now()
	var err error
	for time.Since(began) < most {
		if err = check(); err == nil {
			return time.Since(began)
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("after %v: %v", most, err)
	return 0
}

// summary returns the status of a policy in a line: in force, denials, and the reasons of Enforced and Degraded.
func (c *cluster) summary(path string) (string, error) {
	p, err := get[v1alpha1.Policy](c, path) // the status of a ClusterPolicy is the same
	if err != nil {
		return "", err
	}
	text := fmt.Sprintf("%s %d", p.Status.InForce, p.Status.Denials)
	for _, kind := range []string{v1alpha1.Accepted, v1alpha1.Enforced, v1alpha1.Degraded} {
		for _, condition := range p.Status.Conditions {
			if condition.Type == kind && p.Status.ObservedGeneration == p.Generation {
				text += fmt.Sprintf(" %s=%s/%s", kind, condition.Status, condition.Reason)
			}
		}
	}
	return text, nil
}

// has is a check that the summary of a policy is that.
func (c *cluster) has(path, want string) func() error {
	return func() error {
		got, err := c.summary(path)
		if err == nil && got != want {
			err = fmt.Errorf("%s is %q, want %q", path, got, want)
		}
		return err
	}
}
