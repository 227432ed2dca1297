package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/rogpeppe/go-internal/testscript"
)

// apiServer has the paths of an API server that the plugin asks, and runs commands in agents' pods as this program with
// the daemon of guardServer. test/cluster/plugin asks a real one.
type apiServer struct {
	socket string
	// patched has what was sent to change objects.
	patched string
	// forbidden are paths that the user may not ask for.
	mu        sync.Mutex
	forbidden []string
	objects   map[string][]map[string]any // of a path, the list
	execs     map[string]int              // how many commands ran in a pod
}

// executed returns how many commands ran in a pod.
func (s *apiServer) executed(pod string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.execs[pod]
}

type object = map[string]any

func named(namespace, name string, more object) object {
	meta := object{"name": name, "uid": name + "-uid", "creationTimestamp": "2026-11-22T15:00:00Z"}
	if namespace != "" {
		meta["namespace"] = namespace
	}
	for key, value := range more {
		if key == "labels" || key == "ownerReferences" || key == "annotations" || key == "generation" {
			meta[key] = value
			delete(more, key)
		}
	}
	o := object{"metadata": meta}
	for key, value := range more {
		o[key] = value
	}
	return o
}

func agentPod(name, node, ready string) object {
	return named("ebpfguard", name, object{
		"labels": object{"app.kubernetes.io/name": "ebpfguard"}, "ownerReferences": []object{{"kind": "DaemonSet", "name": "ebpfguard"}},
		"spec":   object{"nodeName": node, "containers": []object{{"name": "ebpfguard"}}},
		"status": object{"phase": "Running", "conditions": []object{{"type": "Ready", "status": ready}}},
	})
}

func nodeStatus(node string, seen time.Time, enforced, degraded string, policies ...object) object {
	return named("", node, object{"status": object{
		"version": "v0.4.0", "kernel": "6.12.48", "revision": 7, "seen": seen.UTC().Format(time.RFC3339), "policies": policies,
		"conditions": []object{{"type": "Enforced", "status": enforced, "reason": "Refused"},
			{"type": "Degraded", "status": degraded, "reason": "Problems", "message": "an output is \x1b[2J slow"}},
	}})
}

// newAPIServer serves a cluster whose nodes a and c have agents; that of b is not ready, and d has none.
func newAPIServer(socket string) *apiServer {
	now := time.Now()
	inForce := func(name string, generation int) object {
		return object{"policy": name, "generation": generation, "denials": 3}
	}
	selector := object{"matchLabels": object{quarantineLabel: "true"}}
	s := &apiServer{socket: socket, execs: map[string]int{}, objects: map[string][]object{
		"/api/v1/nodes": {
			named("", "a", object{"labels": object{"kubernetes.io/os": "linux", "disk": "ssd"}}), named("", "b", object{}), named("", "c", object{}), named("", "d", object{}),
			named("", "w", object{"labels": object{"kubernetes.io/os": "windows"}}),
		},
		"/api/v1/namespaces/ebpfguard/pods": {
			agentPod("ebpfguard-a", "a", "True"), agentPod("ebpfguard-b", "b", "False"), agentPod("ebpfguard-c", "c", "True"),
			named("ebpfguard", "ebpfguard-cleanup", object{"labels": object{"app.kubernetes.io/name": "ebpfguard"}, "spec": object{"nodeName": "d", "containers": []object{{"name": "x"}}}}),
		},
		"/api/v1/namespaces/shop/pods": {
			named("shop", "web-0", object{
				"labels": object{"app": "web"}, "ownerReferences": []object{{"kind": "StatefulSet", "name": "web"}},
				"spec": object{"nodeName": "a", "serviceAccountName": "seller", "containers": []object{{"name": "nginx", "image": "nginx:1.27"}, {"name": "proxy", "image": "envoy"}}},
			}),
			named("shop", "lonely", object{"spec": object{"nodeName": "d", "containers": []object{{"name": "x"}}}}),
			named("shop", "pending", object{"spec": object{"containers": []object{{"name": "x"}}}}),
		},
		guardPaths + "nodestatuses": {
			nodeStatus("a", now, "True", "False", inForce("shop/no-shells", 2), inForce("quarantine", 1)),
			nodeStatus("b", now.Add(-time.Hour), "True", "False", inForce("shop/no-shells", 2), inForce("quarantine", 1)),
			nodeStatus("c", now, "False", "True", object{"policy": "shop/no-shells", "generation": 1, "error": "no user \"www\""}, inForce("quarantine", 1)),
		},
		guardPaths + "policies": {named("shop", "no-shells", object{"generation": 2})},
		guardPaths + "clusterpolicies": {
			named("", "quarantine", object{"generation": 1, "spec": object{"podSelector": selector}}),
			named("", "ssd", object{"generation": 1, "spec": object{"nodeSelector": object{"matchLabels": object{"disk": "ssd"}}}}),
			named("", "some", object{"generation": 1, "spec": object{"namespaceSelector": object{"matchLabels": object{"x": "y"}}}}),
		},
	}}
	return s
}

const guardPaths = "/apis/ebpfguard.io/v1alpha1/"

// fail answers as an API server does.
func fail(w http.ResponseWriter, code int, reason, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(object{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message, "code": code})
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	forbidden := slices.Contains(s.forbidden, r.URL.Path)
	objects := s.objects[r.URL.Path]
	parents := s.objects[filepath.Dir(r.URL.Path)]
	s.mu.Unlock()
	if forbidden {
		fail(w, http.StatusForbidden, "Forbidden", r.URL.Path+` is forbidden: User "ann" cannot do that`)
		return
	}
	if pod, ok := strings.CutSuffix(r.URL.Path, "/exec"); ok {
		s.exec(w, r, filepath.Base(pod))
		return
	}
	if objects != nil || strings.HasPrefix(r.URL.Path, "/api/v1/namespaces/") && strings.HasSuffix(r.URL.Path, "/pods") {
		s.list(w, r, objects)
		return
	}
	for _, o := range parents {
		meta := o["metadata"].(object)
		if meta["name"] != filepath.Base(r.URL.Path) {
			continue
		}
		if r.Method == http.MethodPatch {
			body, _ := io.ReadAll(r.Body)
			s.mu.Lock()
			s.patched += r.Header.Get("Content-Type") + " " + string(body) + "\n"
			meta["labels"] = object{"app": "web", quarantineLabel: "true"}
			if strings.Contains(string(body), "null") {
				meta["labels"] = object{"app": "web"}
			}
			s.mu.Unlock()
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(o)
		return
	}
	if parents != nil || strings.HasPrefix(r.URL.Path, "/api/v1/namespaces/") {
		fail(w, http.StatusNotFound, "NotFound", filepath.Base(r.URL.Path)+" not found")
		return
	}
	fail(w, http.StatusNotFound, "NotFound", "the server could not find the requested resource")
}

// list answers in pages of two objects.
func (s *apiServer) list(w http.ResponseWriter, r *http.Request, all []object) {
	query := r.URL.Query()
	if node, ok := strings.CutPrefix(query.Get("fieldSelector"), "spec.nodeName="); ok {
		all = slices.DeleteFunc(slices.Clone(all), func(o object) bool { return o["spec"].(object)["nodeName"] != node })
	}
	at, meta := 0, object{}
	_, _ = fmt.Sscan(query.Get("continue"), &at)
	if at+2 < len(all) {
		meta["continue"] = fmt.Sprint(at + 2)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(object{"metadata": meta, "items": all[at:min(len(all), at+2)]})
}

// exec runs this program in the place of an agent's.
func (s *apiServer) exec(w http.ResponseWriter, r *http.Request, pod string) {
	if pod == "ebpfguard-b" {
		fail(w, http.StatusInternalServerError, "InternalError", "the container \x1b[2J is not there")
		return
	}
	query := r.URL.Query()
	if query.Get("container") != "ebpfguard" || query["command"][0] != "/ebpfguard" {
		fail(w, http.StatusBadRequest, "BadRequest", "not the agent's command")
		return
	}
	upgrader := websocket.Upgrader{Subprotocols: []string{"v5.channel.k8s.io"}}
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer conn.Close()
	self, _ := os.Executable()
	cmd := &exec.Cmd{Path: self, Args: append([]string{"ebpfguard"}, query["command"][1:]...), Env: []string{socketVariable + "=" + s.socket, "TZ=UTC"}}
	var sending sync.Mutex
	channel := func(n byte) io.Writer {
		return writerFunc(func(p []byte) (int, error) {
			sending.Lock()
			defer sending.Unlock()
			return len(p), conn.WriteMessage(websocket.BinaryMessage, append([]byte{n}, p...))
		})
	}
	cmd.Stdout, cmd.Stderr = channel(1), channel(2)
	if query.Get("stdin") == "true" {
		stdin, err := cmd.StdinPipe()
		if err != nil {
			return
		}
		go func() {
			defer stdin.Close()
			for {
				_, message, err := conn.ReadMessage()
				if err != nil || message[0] == 255 {
					return
				}
				_, _ = stdin.Write(message[1:])
			}
		}()
	}
	status := object{"status": "Success"}
	var exit *exec.ExitError
	if err := cmd.Run(); errors.As(err, &exit) {
		status = object{"status": "Failure", "reason": "NonZeroExitCode", "message": err.Error(),
			"details": object{"causes": []object{{"reason": "ExitCode", "message": fmt.Sprint(exit.ExitCode())}}}}
	}
	s.mu.Lock()
	s.execs[pod]++
	s.mu.Unlock()
	text, _ := json.Marshal(status)
	_, _ = channel(3).Write(text)
	_ = conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// serveCluster serves one for a script, whose kubeconfig is in $KUBECONFIG.
func serveCluster(env *testscript.Env, socket string) error {
	s := newAPIServer(socket)
	server := httptest.NewServer(s)
	env.Defer(server.Close)
	env.Values[apiServerKey{}] = s
	path := filepath.Join(env.WorkDir, "kubeconfig")
	env.Setenv("KUBECONFIG", path)
	return os.WriteFile(path, kubeconfigFor(server.URL), 0o600)
}

func kubeconfigFor(url string) []byte {
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: %q}}]
contexts: [{name: shop, context: {cluster: c, namespace: shop}}, {name: bank, context: {cluster: c}}]
current-context: shop
`, url)
}

type apiServerKey struct{}

// setCluster changes the cluster: healthy, forbid PATH ..., delete PATH, or writes what was patched into a file.
func setCluster(ts *testscript.TestScript, _ bool, args []string) {
	s := ts.Value(apiServerKey{}).(*apiServer)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch args[0] {
	case "forbid":
		s.forbidden = args[1:]
	case "delete":
		delete(s.objects, args[1])
	case "healthy": // the node a alone, with all policies
		for path, objects := range s.objects {
			s.objects[path] = slices.DeleteFunc(objects, func(o object) bool {
				name := o["metadata"].(object)["name"]
				spec, _ := o["spec"].(object)
				return path != guardPaths+"clusterpolicies" && path != guardPaths+"policies" && name != "a" && spec["nodeName"] != "a" || name == "ssd"
			})
		}
	case "patched":
		ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(s.patched), 0o600))
	default:
		ts.Fatalf("unknown change %q", args[0])
	}
}

// TestInOrder expects that what came late is put in its place, and that nothing is printed twice or lost.
func TestInOrder(t *testing.T) {
	at := func(seconds ...int) (all []nodeAlert) {
		for _, s := range seconds {
			all = append(all, nodeAlert{Time: time.Unix(int64(s), 0)})
		}
		return all
	}
	times := func(all []nodeAlert) (seconds []int) {
		for _, a := range all {
			seconds = append(seconds, int(a.Time.Unix()))
		}
		return seconds
	}
	for _, c := range []struct{ waited, fresh, due, later []int }{
		{nil, []int{3, 1}, nil, []int{3, 1}},
		{[]int{3, 1}, nil, []int{1, 3}, nil},
		{[]int{3, 1}, []int{2, 5, 0, 3}, []int{0, 1, 2, 3, 3}, []int{5}},
	} {
		due, later := inOrder(at(c.waited...), at(c.fresh...))
		if !slices.Equal(times(due), c.due) || !slices.Equal(times(later), c.later) {
			t.Errorf("%v and then %v: %v, later %v", c.waited, c.fresh, times(due), times(later))
		}
	}
}
