package main

import (
	"fmt"
	"io"
	"net"
	"os/exec"
	"sync"
	"time"
)

// forwarder connects all who connect to the service kubernetes with the API server, as kube-proxy sees to elsewhere.
type forwarder struct {
	to string

	mu sync.Mutex
	// closed refuses all connections.
	closed bool
	open   map[net.Conn]bool
}

// newForwarder adds the service's address to the loopback.
func newForwarder(service, to string) (*forwarder, error) {
	if out, err := exec.Command("/usr/bin/busybox", "ip", "address", "add", service+"/32", "dev", "lo").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	l, err := net.Listen("tcp", net.JoinHostPort(service, "443"))
	if err != nil {
		return nil, err
	}
	f := &forwarder{to: to, open: map[net.Conn]bool{}}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go f.join(client)
		}
	}()
	return f, nil
}

// setClosed ends all connections and refuses new ones, or allows them again.
func (f *forwarder) setClosed(closed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = closed
	if closed {
		for c := range f.open {
			c.Close()
		}
	}
}

// keep notes a connection. It reports false where there shall be none.
func (f *forwarder) keep(c net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		f.open[c] = true
	}
	return !f.closed
}

func (f *forwarder) join(client net.Conn) {
	defer func() {
		client.Close()
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.open, client)
	}()
	if !f.keep(client) {
		return
	}
	server, err := net.DialTimeout("tcp", f.to, 10*time.Second)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		defer client.Close()
		defer server.Close()
		_, _ = io.Copy(server, client)
	}()
	_, _ = io.Copy(client, server)
}
