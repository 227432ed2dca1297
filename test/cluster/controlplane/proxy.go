package controlplane

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
)

// egress is what tells the API server to reach nodes by our proxy.
const egress = `apiVersion: apiserver.k8s.io/v1beta1
kind: EgressSelectorConfiguration
egressSelections:
- name: cluster
  connection:
    proxyProtocol: HTTPConnect
    transport: {uds: {udsName: %q}}
`

// Files in the control plane's folder.
const (
	egressFile  = "egress.yaml"
	proxySocket = "proxy.sock"
)

// proxy connects the API server to kubelets: it knows their nodes' addresses, which are those of guests. From
// this machine a guest's port is reached by one of the loopback.
type proxy struct {
	listener net.Listener

	mu sync.Mutex
	// routes maps addresses as the API server has them to those of the loopback.
	routes map[string]string
}

func (c *ControlPlane) startProxy() error {
	l, err := net.Listen("unix", c.file(proxySocket))
	if err != nil {
		return err
	}
	c.proxy = &proxy{listener: l, routes: map[string]string{}}
	go c.proxy.serve()
	return os.WriteFile(c.file(egressFile), fmt.Appendf(nil, egress, c.file(proxySocket)), 0o600)
}

// Route tells the API server how to reach an address of a node, such as 10.0.2.21:10250.
func (c *ControlPlane) Route(address, loopback string) {
	c.proxy.mu.Lock()
	defer c.proxy.mu.Unlock()
	c.proxy.routes[address] = loopback
}

func (p *proxy) serve() {
	for {
		connection, err := p.listener.Accept()
		if err != nil {
			return
		}
		go p.connect(connection)
	}
}

// connect answers a request with the method CONNECT, and copies what comes afterwards.
func (p *proxy) connect(client net.Conn) {
	defer client.Close()
	reader := bufio.NewReader(client)
	request, err := http.ReadRequest(reader)
	if err != nil {
		return
	}
	p.mu.Lock()
	to, known := p.routes[request.Host]
	p.mu.Unlock()
	if request.Method != http.MethodConnect || !known {
		fmt.Fprintf(client, "HTTP/1.1 502 no route to %q\r\n\r\n", request.Host)
		return
	}
	server, err := net.Dial("tcp", to)
	if err != nil {
		fmt.Fprintf(client, "HTTP/1.1 502 %v\r\n\r\n", err)
		return
	}
	defer server.Close()
	if _, err := io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(server, reader)
		_ = server.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(client, server)
}
