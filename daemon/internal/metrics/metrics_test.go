package metrics

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
)

var update = flag.Bool("update", false, "write the expected exposition anew")

// full is a status with a value in each field that is told.
func full(context.Context) (*pb.StatusResponse, error) {
	return &pb.StatusResponse{
		State: pb.StatusResponse_STATE_DEGRADED, Problems: []string{"a.yaml:3:7: no", "x"}, Version: "v1.2.3", Adopted: true,
		Revision: 7, Applied: timestamppb.New(time.Unix(1_800_000_000, 500_000_000)), Policies: 3, Rules: 4, Mitigations: 1,
		Operations: []*pb.OperationCounters{
			{Operation: "file_open", Attached: true, Allowed: 100, Audited: 20, Denied: 10, Killed: 3, Undecided: 2, Alerts: 25, AlertsLost: 4, AlertsLimited: 1},
			{Operation: "sb_mount"},
		},
		RuleCounters: []*pb.RuleCounters{
			{Policy: "one", Rule: 0, Operation: "file_open", Hits: 12},
			{Policy: "one", Rule: 1, Operation: "file_open", Hits: 18},
		},
		Containers: &pb.ContainersStatus{
			Known: 12, Unidentified: 2,
			Sources:  []*pb.ContainerSource{{Name: "nri", Connected: true, Containers: 11}, {Name: "docker", Containers: 1}},
			Counters: []*pb.ContainerCounters{{Namespace: "shop", Name: "web", Audited: 5, Denied: 7, Killed: 3}, {Denied: 1}},
			Others:   4,
		},
		Alerts: &pb.AlertCounters{Read: 25, Folded: 5, Sequence: 24, Sinks: []*pb.SinkCounters{
			{Name: "journal", Written: 15, Filtered: 4, Dropped: 1, Error: "gone"},
			{Name: "odd \xff\"\n", Written: 20},
		}},
	}, nil
}

func exposition(t *testing.T, gatherer prometheus.Gatherer) []byte {
	t.Helper()
	w := httptest.NewRecorder()
	promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return w.Body.Bytes()
}

func TestExposition(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(NewCollector(full))
	got := bytes.ReplaceAll(exposition(t, registry), []byte(runtime.Version()), []byte("GO"))
	golden := filepath.Join("testdata", "metrics.txt")
	if *update {
		if err := os.WriteFile(golden, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("go test -update writes %s anew; got\n%s", golden, got)
	}
}

// TestLint holds all that is told against the conventions of Prometheus, as
// promtool check metrics does.
func TestLint(t *testing.T) {
	problems, err := promlint.New(bytes.NewReader(exposition(t, newRegistry(full)))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestStatusFails(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(NewCollector(func(context.Context) (*pb.StatusResponse, error) { return nil, errors.New("no") }))
	got := string(exposition(t, registry))
	if !strings.HasSuffix(got, "\nebpfguard_up 0\n") || strings.Count(got, "# TYPE") != 1 {
		t.Errorf("got\n%s", got)
	}
}

// TestRulesAreBounded expects that a large set does not make more series.
func TestRulesAreBounded(t *testing.T) {
	s := &pb.StatusResponse{}
	for i := range uint32(100_000) {
		s.RuleCounters = append(s.RuleCounters, &pb.RuleCounters{Policy: "p", Rule: i, Operation: "file_open"})
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(NewCollector(func(context.Context) (*pb.StatusResponse, error) { return s, nil }))
	got := string(exposition(t, registry))
	if n := strings.Count(got, "\nebpfguard_rule_hits_total{"); n != MaxRules {
		t.Errorf("%d series", n)
	}
	if want := fmt.Sprintf("\nebpfguard_rules_without_series %d\n", 100_000-MaxRules); !strings.Contains(got, want) {
		t.Errorf("it does not say %s", want)
	}
}

// names returns the names of all metrics that are told.
func names(t *testing.T) map[string]bool {
	t.Helper()
	families, err := newRegistry(full).Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, f := range families {
		found[f.GetName()] = true
	}
	return found
}

var metricName = regexp.MustCompile(`\b(ebpfguard|process|go)_[a-z_]+`)

// TestDashboard expects that the dashboard shows all metrics of ours, and none
// that is not told.
func TestDashboard(t *testing.T) {
	data, err := os.ReadFile("../../../deploy/grafana/ebpfguard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Title  string
		Panels []struct {
			ID      int
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(data, &dashboard); err != nil {
		t.Fatal(err)
	}
	told, shown, ids, places := names(t), map[string]bool{}, map[int]bool{}, map[[2]int]string{}
	for _, panel := range dashboard.Panels {
		if len(panel.Targets) == 0 || ids[panel.ID] || panel.Title == "" {
			t.Errorf("panel %d %q shows nothing, has no title or the number of another", panel.ID, panel.Title)
		}
		ids[panel.ID] = true
		for x := range panel.GridPos.W {
			for y := range panel.GridPos.H {
				place := [2]int{panel.GridPos.X + x, panel.GridPos.Y + y}
				if other, taken := places[place]; taken || place[0] >= 24 {
					t.Fatalf("%q lies on %q or beside the screen", panel.Title, other)
				}
				places[place] = panel.Title
			}
		}
		for _, target := range panel.Targets {
			found := metricName.FindAllString(target.Expr, -1)
			if len(found) == 0 || strings.Count(target.Expr, "(") != strings.Count(target.Expr, ")") {
				t.Errorf("%s: %s", panel.Title, target.Expr)
			}
			for _, name := range found {
				shown[name] = true
				if !told[name] {
					t.Errorf("%s: there is no metric %s", panel.Title, name)
				}
			}
		}
	}
	for name := range told {
		if strings.HasPrefix(name, "ebpfguard_") && !shown[name] {
			t.Errorf("no panel shows %s", name)
		}
	}
}

// TestAlertingRules expects that the rules for Prometheus are about metrics that there are.
func TestAlertingRules(t *testing.T) {
	data, err := os.ReadFile("../../../deploy/prometheus/ebpfguard.rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil {
		t.Fatal(err)
	}
	told, rules := names(t), 0
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			rules++
			found := metricName.FindAllString(rule.Expr, -1)
			if rule.Alert == "" || len(found) == 0 || rule.Labels["severity"] == "" || rule.Annotations["summary"] == "" {
				t.Errorf("%+v: it has no name, metric, severity or summary", rule)
			}
			for _, name := range found {
				if !told[name] {
					t.Errorf("%s: there is no metric %s", rule.Alert, name)
				}
			}
		}
	}
	if rules == 0 {
		t.Error("there are no rules")
	}
}

// TestDocs expects that docs/metrics.md names exactly the metrics of ours.
func TestDocs(t *testing.T) {
	data, err := os.ReadFile("../../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	told, documented := names(t), map[string]bool{}
	for _, name := range regexp.MustCompile("`(ebpfguard_[a-z_]+)").FindAllStringSubmatch(string(data), -1) {
		documented[name[1]] = true
		if !told[name[1]] {
			t.Errorf("there is no metric %s", name[1])
		}
	}
	for name := range told {
		if strings.HasPrefix(name, "ebpfguard_") && !documented[name] {
			t.Errorf("docs/metrics.md lacks %s", name)
		}
	}
}

func TestHandler(t *testing.T) {
	with := func(state pb.StatusResponse_State, err error) Status {
		return func(context.Context) (*pb.StatusResponse, error) {
			return &pb.StatusResponse{State: state, Revision: 7, Policies: 3, Problems: []string{"a.yaml: no"}}, err
		}
	}
	for _, c := range []struct {
		method, path string
		status       Status
		code         int
		want         string
	}{
		{"GET", "/healthz", with(0, errors.New("no")), 200, "ok\n"},
		{"GET", "/readyz", with(pb.StatusResponse_STATE_ENFORCING, nil), 200, "enforcing revision 7: 3 policies\n"},
		{"GET", "/readyz", with(pb.StatusResponse_STATE_DEGRADED, nil), 503, "degraded\na.yaml: no\n"},
		{"GET", "/readyz", with(pb.StatusResponse_STATE_UNSPECIFIED, nil), 503, "not enforcing\n"},
		{"GET", "/readyz", with(pb.StatusResponse_STATE_ENFORCING, errors.New("no")), 503, "the daemon does not report its state: no\n"},
		{"HEAD", "/readyz", with(pb.StatusResponse_STATE_ENFORCING, nil), 200, ""},
		{"POST", "/healthz", full, 405, ""},
		{"GET", "/", full, 404, ""},
		{"GET", "/metrics", full, 200, "# HELP ebpfguard_adopted "},
	} {
		w := httptest.NewRecorder()
		NewHandler(c.status).ServeHTTP(w, httptest.NewRequest(c.method, c.path, nil))
		if w.Code != c.code || !strings.HasPrefix(w.Body.String(), c.want) {
			t.Errorf("%s %s: %d %.100q, want %d %q", c.method, c.path, w.Code, w.Body, c.code, c.want)
		}
	}
}

func TestListen(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{
		"":                   "write HOST:PORT",
		"9477":               "write HOST:PORT",
		":0":                 "other machines can reach",
		"0.0.0.0:0":          "use 127.0.0.1:0",
		"[::]:0":             "other machines can reach",
		"192.0.2.1:0":        "other machines can reach",
		"example.com:0":      "other machines can reach",
		"127.0.0.1:99999":    "choose a free port",
		"unix:relative":      "not absolute",
		"unix:" + file:       "exists and is not a socket",
		"unix:/no/such/sock": "choose a folder",
	} {
		if l, err := Listen(address, false); err == nil {
			l.Close()
			t.Errorf("it listens on %q", address)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", address, err, want)
		}
	}
	for _, address := range []string{"127.0.0.1:0", "127.0.0.2:0", "localhost:0"} {
		l, err := Listen(address, false)
		if err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		l.Close()
	}
	if l, err := Listen("0.0.0.0:0", true); err != nil {
		t.Errorf("explicitly: %v", err)
	} else {
		l.Close()
	}
}

func TestServeUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	// One that a killed daemon left.
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	left.Close()
	l, err := Listen("unix:"+path, false)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, NewHandler(full)) }()
	if _, err := Listen("unix:"+path, false); err == nil || !strings.Contains(err.Error(), "another process listens") {
		t.Errorf("it takes the socket of another: %v", err)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	response, err := client.Get("http://ebpfguard/metrics")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	response.Body.Close()
	if err != nil || !strings.Contains(string(body), "\nebpfguard_up 1\n") || !strings.Contains(string(body), "\nprocess_resident_memory_bytes ") {
		t.Errorf("%v: %s", err, body)
	}
	client.CloseIdleConnections()
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("it does not end")
	}
}
