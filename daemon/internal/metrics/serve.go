package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
)

// NewHandler returns the handler of /metrics, /healthz and /readyz.
func NewHandler(status Status) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(newRegistry(status), promhttp.HandlerOpts{
		MaxRequestsInFlight: 4, Timeout: 2 * statusTimeout,
	}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, "ok\n")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { ready(w, r, status) })
	return mux
}

func newRegistry(status Status) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(NewCollector(status), collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return registry
}

// ready answers 200 only when everything that was asked for is in force. While
// the state is degraded an older set may be: that is for somebody to look at, so
// it is 503 too. Nothing is to be restarted for that; /healthz is for this.
func ready(w http.ResponseWriter, r *http.Request, status Status) {
	ctx, cancel := context.WithTimeout(r.Context(), statusTimeout)
	defer cancel()
	s, err := status(ctx)
	switch {
	case err != nil:
		answer(w, http.StatusServiceUnavailable, "the daemon does not report its state: "+err.Error()+"\n")
	case s.GetState() == pb.StatusResponse_STATE_ENFORCING:
		answer(w, http.StatusOK, fmt.Sprintf("enforcing revision %d: %d policies\n", s.GetRevision(), s.GetPolicies()))
	case s.GetState() == pb.StatusResponse_STATE_DEGRADED:
		answer(w, http.StatusServiceUnavailable, "degraded\n"+strings.Join(append(s.GetProblems(), ""), "\n"))
	default:
		answer(w, http.StatusServiceUnavailable, "not enforcing\n")
	}
}

func answer(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, text) // who asked has gone
}

// unixPrefix begins the address of a Unix socket.
const unixPrefix = "unix:"

// Listen listens on unix:PATH or on HOST:PORT, where HOST is localhost or a
// loopback address: what is told is for nobody else. Others are refused unless
// anywhere is set.
func Listen(address string, anywhere bool) (net.Listener, error) {
	if err := CheckAddress(address, anywhere); err != nil {
		return nil, err
	}
	if path, ok := strings.CutPrefix(address, unixPrefix); ok {
		return listenUnix(path)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w; choose a free port", err)
	}
	// The name localhost may stand for anything.
	_, port, _ := net.SplitHostPort(address)
	if bound, ok := l.Addr().(*net.TCPAddr); !anywhere && (!ok || !bound.IP.IsLoopback()) {
		return nil, errors.Join(fmt.Errorf("metrics: address %q stands for %v, which other machines can reach; write 127.0.0.1:%s", address, l.Addr(), port), l.Close())
	}
	return l, nil
}

// CheckAddress reports whether [Listen] takes an address, as far as that can be told without
// listening.
func CheckAddress(address string, anywhere bool) error {
	if path, ok := strings.CutPrefix(address, unixPrefix); ok {
		if !strings.HasPrefix(path, "/") {
			return fmt.Errorf("metrics: unix:%s: the path is not absolute; write the whole path", path)
		}
		return nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("metrics: address %q: %w; write HOST:PORT such as 127.0.0.1:9477, or unix:PATH", address, err)
	}
	if !anywhere && !isLoopback(host) {
		return fmt.Errorf("metrics: other machines can reach the address %q, and metrics have no authentication; use 127.0.0.1:%s, [::1]:%s or unix:PATH, or set metrics_anywhere", address, port, port)
	}
	return nil
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback() || host == "localhost"
}

// listenUnix replaces a socket that no process listens on. Its owner and group may
// connect.
func listenUnix(path string) (net.Listener, error) {
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("metrics: %w", err)
	case info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("metrics: %s exists and is not a socket; choose another path or remove it", path)
	default:
		if conn, err := net.Dial("unix", path); err == nil {
			return nil, errors.Join(fmt.Errorf("metrics: another process listens on %s already; choose another path", path), conn.Close())
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w; choose a folder that exists and is writable", err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		return nil, errors.Join(fmt.Errorf("metrics: %w", err), l.Close())
	}
	return l, nil
}

// Serve answers until the context ends.
func Serve(ctx context.Context, l net.Listener, handler http.Handler) error {
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
	}
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if server.Shutdown(grace) != nil {
			_ = server.Close()
		}
	})
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("metrics: %w", err)
	}
	return nil
}
