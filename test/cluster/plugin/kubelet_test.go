//go:build k8s

package plugin

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/utils/exec"

	"github.com/ebpfguard/ebpfguard/test/cluster/controlplane"
)

// kubelet serves pods/exec as kubelet and containerd do, and has a function for the agents' command.
type kubelet struct {
	run func(args []string, stdin io.Reader, stdout, stderr io.Writer) (code int)
	// running counts commands that have not ended.
	mu      sync.Mutex
	running int
}

func (k *kubelet) commands() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.running
}

// serve serves at an address that the API server can be told of for a node.
func (k *kubelet) serve(t *testing.T, c *controlplane.ControlPlane, node, address string) {
	t.Helper()
	certificate, key, err := c.ServerCertificate(node, node, address)
	if err != nil {
		t.Fatal(err)
	}
	own, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: k}
	t.Cleanup(func() { _ = server.Close() })
	go func() { _ = server.Serve(tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{own}})) }()
	c.Route(net.JoinHostPort(address, "10250"), listener.Addr().String())
}

// ServeHTTP takes /exec/NAMESPACE/POD/CONTAINER.
func (k *kubelet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	options, err := remotecommand.NewOptions(r)
	path := strings.Split(r.URL.Path, "/")
	if err != nil || len(path) != 5 || path[1] != "exec" {
		http.Error(w, r.URL.Path+" is not for this kubelet", http.StatusNotFound)
		return
	}
	remotecommand.ServeExec(w, r, k, path[3], "", path[4], r.URL.Query()["command"], options, time.Hour, time.Minute, remotecommand.SupportedStreamingProtocols)
}

// ExecInContainer implements [remotecommand.Executor].
func (k *kubelet) ExecInContainer(_ context.Context, _, _, container string, command []string, in io.Reader, out, problems io.WriteCloser, _ bool, _ <-chan remotecommand.TerminalSize, _ time.Duration) error {
	k.mu.Lock()
	k.running++
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		k.running--
		k.mu.Unlock()
	}()
	code := 126
	if container == "ebpfguard" && command[0] == "/ebpfguard" {
		code = k.run(command[1:], in, out, problems)
	}
	if code != 0 {
		return exec.CodeExitError{Err: io.EOF, Code: code}
	}
	return nil
}
