package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ebpfguard/ebpfguard/daemon/containers"
	"github.com/ebpfguard/ebpfguard/policy"
)

// server is a daemon whose containers the test chooses. Its answers have the form of those of Docker 20.10
// and Podman 4.3.
type server struct {
	t      *testing.T
	socket string

	mu         sync.Mutex
	version    string // what it answers about its versions
	containers map[string]inspected
	digests    map[string][]string
	events     chan string
	asked      []string
	stop       func()
}

func newServer(t *testing.T) *server {
	s := &server{t: t, socket: filepath.Join(t.TempDir(), "socket"), containers: map[string]inspected{}, digests: map[string][]string{},
		version: `{"Platform":{"Name":""},"Version":"20.10.24+dfsg1","ApiVersion":"1.41","MinAPIVersion":"1.12","Os":"linux"}`}
	s.serve()
	t.Cleanup(func() { s.stop() })
	return s
}

func (s *server) serve() {
	l, err := net.Listen("unix", s.socket)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	events := make(chan string, 100)
	mux := http.NewServeMux()
	mux.HandleFunc("/version", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, s.version) })
	mux.HandleFunc("/{v}/events", func(w http.ResponseWriter, r *http.Request) {
		s.note(r)
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		for {
			select {
			case <-ctx.Done():
				return
			case <-r.Context().Done():
				return
			case e := <-events:
				fmt.Fprintln(w, e)
				w.(http.Flusher).Flush()
			}
		}
	})
	mux.HandleFunc("/{v}/containers/json", func(w http.ResponseWriter, r *http.Request) {
		s.note(r)
		s.mu.Lock()
		defer s.mu.Unlock()
		list := []map[string]any{}
		for _, id := range slices.Sorted(maps.Keys(s.containers)) {
			list = append(list, map[string]any{"Id": id, "Names": []string{s.containers[id].Name}, "State": "running"})
		}
		_ = json.NewEncoder(w).Encode(list)
	})
	mux.HandleFunc("/{v}/containers/{id}/json", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		c, ok := s.containers[r.PathValue("id")]
		if !ok {
			http.Error(w, `{"message":"No such container"}`, http.StatusNotFound)
			return
		}
		_ = json.NewEncoder(w).Encode(c)
	})
	mux.HandleFunc("/{v}/images/{id}/json", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		_ = json.NewEncoder(w).Encode(map[string]any{"RepoDigests": s.digests[r.PathValue("id")]})
	})
	h := &http.Server{Handler: mux}
	go h.Serve(l)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events, s.stop = events, func() { cancel(); h.Close(); l.Close() } // which Serve may not have yet
}

func (s *server) note(r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, r.URL.String())
}

func (s *server) have(c inspected) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.containers[c.ID] = c
}

func (s *server) lose(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.containers, id)
}

func (s *server) happens(action, id string, attributes map[string]string) {
	raw, _ := json.Marshal(map[string]any{"Type": "container", "Action": action, "Actor": map[string]any{"ID": id, "Attributes": attributes}, "time": 1796009724})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events <- string(raw)
}

// registry is what the source told.
type registry struct {
	mu    sync.Mutex
	known map[string]containers.Container
	err   error
}

func (r *registry) Start(source string, c containers.Container) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known[c.ID] = c
	return r.err
}

func (r *registry) Stop(_, id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.known, id)
}

func (r *registry) Sync(source string, all []containers.Container) error {
	r.mu.Lock()
	clear(r.known)
	r.mu.Unlock()
	var errs []error
	for _, c := range all {
		errs = append(errs, r.Start(source, c))
	}
	return errors.Join(errs...)
}

func (r *registry) Closed() bool { return false }

func (r *registry) names() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for _, c := range r.known {
		names = append(names, c.Name)
	}
	return slices.Sorted(slices.Values(names))
}

func (r *registry) awaitNames(t *testing.T, want ...string) {
	t.Helper()
	eventually(t, func() string {
		if got := r.names(); !slices.Equal(got, want) {
			return fmt.Sprintf("known are %v, want %v", got, want)
		}
		return ""
	})
}

func eventually(t *testing.T, wrong func() string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		text := wrong()
		if text == "" {
			return
		}
		if time.Now().After(end) {
			t.Fatal(text)
		}
	}
}

func web(id string) inspected {
	c := inspected{ID: id, Name: "/web", Image: "sha256:111"}
	c.State.Pid, c.State.Running = 4711, true
	c.Config.Image, c.Config.Labels = "nginx:1.27", map[string]string{"app": "web"}
	return c
}

func follow(t *testing.T, s *server) (*Source, *registry) {
	t.Helper()
	source := &Source{runtime: "docker", socket: s.socket, hooked: func() bool { return false }, cgroup: func(pid uint32, id, _ string) (string, error) {
		if pid != 4711 {
			return "", fmt.Errorf("its process %d has ended", pid)
		}
		return "/system.slice/docker-" + id + ".scope", nil
	}}
	r := &registry{known: map[string]containers.Container{}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- source.Run(ctx, r) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("at the end: %v", err)
		}
	})
	return source, r
}

func connected(s *Source) func() string {
	return func() string {
		if status := s.Status(); !status.Connected || status.Problem != "" {
			return fmt.Sprintf("status %+v", status)
		}
		return ""
	}
}

// TestSource follows a container from its creation to its end, over restarts of the daemon.
func TestSource(t *testing.T) {
	s := newServer(t)
	s.have(web("1"))
	s.digests["sha256:111"] = []string{"mirror/nginx@sha256:333", "nginx@sha256:222"}
	source, r := follow(t, s)
	r.awaitNames(t, "web")
	eventually(t, connected(source))
	want := containers.Container{Cgroup: "/system.slice/docker-1.scope", Running: true, Container: policy.Container{
		ID: "1", Name: "web", Image: "nginx:1.27", ImageDigest: "sha256:222", Labels: map[string]string{"app": "web"}, Runtime: "docker",
	}}
	r.mu.Lock()
	if diff := cmp.Diff(want, r.known["1"]); diff != "" {
		t.Error(diff)
	}
	r.mu.Unlock()

	s.happens("create", "2", map[string]string{"name": "db", "image": "redis", "tier": "back"})
	eventually(t, func() string {
		c, ok := source.Describe("2")
		if want := (policy.Container{ID: "2", Name: "db", Image: "redis", Labels: map[string]string{"tier": "back"}, Runtime: "docker"}); !ok || !cmp.Equal(c, want) {
			return fmt.Sprintf("of one that was made it knows %+v", c)
		}
		return ""
	})
	db := web("2")
	db.Name = "/db"
	s.have(db)
	s.happens("start", "2", nil)
	r.awaitNames(t, "db", "web")
	if _, ok := source.Describe("2"); ok {
		t.Error("it remembers one that has started")
	}
	db.Name = "/database"
	s.have(db)
	s.happens("rename", "2", nil)
	r.awaitNames(t, "database", "web")
	s.happens("exec_start: sh", "2", nil)
	s.happens("die", "2", nil)
	r.awaitNames(t, "web")

	// The daemon goes away and comes back; meanwhile one container ended, and another one started.
	s.stop()
	eventually(t, func() string {
		if status := source.Status(); status.Connected || !strings.Contains(status.Problem, s.socket) {
			return fmt.Sprintf("status %+v", status)
		}
		return ""
	})
	s.lose("1")
	s.have(db)
	s.serve()
	r.awaitNames(t, "database")
	eventually(t, connected(source))

	// Of one that cannot be asked about the others are told nevertheless.
	gone := web("3")
	gone.State.Pid = 1
	s.have(gone)
	s.happens("start", "3", nil)
	eventually(t, func() string {
		if status := source.Status(); !strings.Contains(status.Problem, "container web: its process 1 has ended") {
			return fmt.Sprintf("status %+v", status)
		}
		return ""
	})
	r.awaitNames(t, "database")
}

// TestNegotiate asks daemons of several versions.
func TestNegotiate(t *testing.T) {
	for version, want := range map[string]string{
		`{"ApiVersion":"1.41","MinAPIVersion":"1.12"}`: "1.41",
		`{"ApiVersion":"1.44","MinAPIVersion":"1.24"}`: "1.44",
		`{"ApiVersion":"1.52","MinAPIVersion":"1.44"}`: "1.44",
		`{"ApiVersion":"1.60","MinAPIVersion":"1.50"}`: "1.50",
		// Podman's.
		`{"Version":"4.3.1","ApiVersion":"1.41","MinAPIVersion":"1.24","Components":[{"Name":"Podman Engine"}]}`: "1.41",
	} {
		s := newServer(t)
		s.version = version
		a := newAPI(s.socket)
		if err := a.negotiate(t.Context()); err != nil || a.version != want {
			t.Errorf("%s: %v, %s, want %s", version, err, a.version, want)
		}
		if _, err := a.list(t.Context()); err != nil || !strings.HasPrefix(s.asked[0], "/v"+want+"/") {
			t.Errorf("%s: %v, it asked for %v", version, err, s.asked)
		}
		a.close()
	}
	s := newServer(t)
	s.version = `{}`
	if err := newAPI(s.socket).negotiate(t.Context()); err == nil || !strings.Contains(err.Error(), "is this Docker's socket") {
		t.Errorf("another program's socket: %v", err)
	}
}

// TestNone has a source wait for a daemon that is not there, and find it when it comes.
func TestNone(t *testing.T) {
	s := newServer(t)
	s.stop()
	source, r := follow(t, s)
	time.Sleep(50 * time.Millisecond)
	if status := source.Status(); status.Connected || status.Problem != "" {
		t.Errorf("no daemon is installed, and the status is %+v", status)
	}
	s.have(web("1"))
	s.serve()
	r.awaitNames(t, "web")
}
