//go:build vm

package guardtest

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// openErrands are what doers do with sockets, most of which they keep.
var openErrands = map[string]func(a []string) error{
	"port": func(a []string) error { // takes it and gives it back
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: number(a[0])})
	},
	"connect": func(a []string) error {
		to := netip.MustParseAddrPort(a[1])
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		heldFiles[a[0]] = fd
		return unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())})
	},
	"listen": func(a []string) error {
		at := netip.MustParseAddrPort(a[1])
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		heldFiles[a[0]] = fd
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())}); err != nil {
			return err
		}
		return unix.Listen(fd, 16)
	},
	"accept": func(a []string) error { return opened(closeOnExec(unix.Accept(heldFiles[a[0]]))) },
	"write-socket": func(a []string) error {
		_, err := unix.Write(heldFiles[a[0]], []byte("x"))
		return err
	},
	"sendmsg": func(a []string) error { return unix.Sendmsg(heldFiles[a[0]], []byte("x"), nil, nil, 0) },
	"read-socket": func(a []string) error {
		_, err := unix.Read(heldFiles[a[0]], make([]byte, 1))
		return err
	},
	"recvmsg": func(a []string) error {
		_, _, _, _, err := unix.Recvmsg(heldFiles[a[0]], make([]byte, 1), nil, 0)
		return err
	},
}

func closeOnExec(fd int, _ unix.Sockaddr, err error) (int, error) { return fd, err }
