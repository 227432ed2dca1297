//go:build vm

package sockets

import (
	"errors"
	"net/netip"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/policy"
	"github.com/ebpfguard/ebpfguard/test/kernel/guardtest"
)

// reach connects a new socket of a kind, bound to an address if there is one, or lets
// it send there.
func reach(kind int, from, to netip.Addr, port uint16, send bool) (err error) {
	family := unix.AF_INET
	if to.Is6() {
		family = unix.AF_INET6
	}
	s, err := unix.Socket(family, kind|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	address := func(a netip.Addr, port uint16) unix.Sockaddr {
		if a.Is6() {
			return &unix.SockaddrInet6{Addr: a.As16(), Port: int(port)}
		}
		return &unix.SockaddrInet4{Addr: a.As4(), Port: int(port)}
	}
	if from.IsValid() {
		if err := unix.Bind(s, address(from, 0)); err != nil {
			return err
		}
	}
	if send {
		return unix.Sendto(s, []byte("x"), 0, address(to, port))
	}
	err = unix.Connect(s, address(to, port))
	if errors.Is(err, unix.EINPROGRESS) || errors.Is(err, unix.ECONNREFUSED) {
		return nil // nobody listens, but it was allowed to ask
	}
	return err
}

// TestSocketConnectAgain asks again and again, in one thread, about what differs little
// from what was allowed just before, since the last answer is kept.
func TestSocketConnectAgain(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	g := guardtest.Shared(t)
	prefixes := func(list ...string) (p []netip.Prefix) {
		for _, s := range list {
			p = append(p, netip.MustParsePrefix(s))
		}
		return p
	}
	g.Use(t, policy.Policy{Name: "test", Subject: policy.Subject{Everyone: true}, Rules: []policy.Rule{{
		Operation: policy.SocketConnect,
		Deny: []policy.Pattern{
			policy.SocketPattern{Addresses: prefixes("127.0.0.2/32", "::1/128")},
			policy.SocketPattern{Protocols: []policy.Protocol{policy.TCP}, Ports: []policy.PortRange{{First: 2022, Last: 2022}}},
			policy.SocketPattern{Protocols: []policy.Protocol{policy.UDP}, Ports: []policy.PortRange{{First: 2023, Last: 2023}}},
		},
	}}})
	const udp, tcp = unix.SOCK_DGRAM, unix.SOCK_STREAM
	lo2 := netip.MustParseAddr("127.0.0.2")
	none := netip.Addr{}
	for range 3 {
		for _, step := range []struct {
			kind     int
			from, to netip.Addr
			port     uint16
			send     bool
			denied   netip.Addr // in the alert
		}{
			{udp, none, guardtest.Lo4, 2022, false, none},
			{udp, none, guardtest.Lo4, 2022, false, none},
			{tcp, none, guardtest.Lo4, 2022, false, guardtest.Lo4},
			{udp, none, guardtest.Lo4, 2022, true, none},
			{udp, none, guardtest.Lo4, 2023, true, guardtest.Lo4},
			{tcp, none, guardtest.Lo4, 2023, false, none},
			{tcp, none, guardtest.Lo4, 2023, false, none},
			{udp, none, guardtest.Lo4, 2023, false, guardtest.Lo4},
			{udp, none, lo2, 2022, false, lo2},
			{udp, none, guardtest.Mapped4, 2022, false, none},
			{udp, none, guardtest.Lo6, 2022, false, guardtest.Lo6},
			{udp, none, guardtest.Mapped4, 2022, true, none},
			{udp, none, guardtest.Lo6, 2022, true, guardtest.Lo6},
			// The machine itself, at the address that the socket has.
			{udp, none, guardtest.Any4, 2022, false, none},
			{udp, lo2, guardtest.Any4, 2022, false, lo2},
			{udp, guardtest.Lo4, guardtest.Any4, 2022, false, none},
			{udp, lo2, guardtest.Any4, 2022, true, lo2},
		} {
			err := reach(step.kind, step.from, step.to, step.port, step.send)
			if !step.denied.IsValid() {
				if err != nil {
					t.Fatalf("%+v: %v", step, err)
				}
				continue
			}
			if !errors.Is(err, unix.EPERM) {
				t.Fatalf("%+v: %v, want EPERM", step, err)
			}
			alert, ok := guardtest.NextOf[ebpfguard.Alert](t, g, g.Others).(ebpfguard.SocketConnectAlert)
			if !ok || alert.Address != step.denied || alert.Port != step.port {
				t.Fatalf("%+v: alert %v", step, alert)
			}
		}
	}
	g.Quiet(t)
}
