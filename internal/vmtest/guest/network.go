package main

import (
	"fmt"
	"net"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// gateway and mask are those of QEMU's network.
var (
	gateway = net.IPv4(10, 0, 2, 2)
	mask    = net.IPv4(255, 255, 255, 0)
)

// route is struct rtentry of linux/route.h.
type route struct {
	_                  uint64
	dst, gateway, mask unix.RawSockaddrInet4
	flags              uint16
	_                  int16
	_                  [2]uint64
	_                  int16
	dev                uintptr
	_                  [3]uint64
}

// setAddress brings a link up with an IPv4 address, and sends everything else to the gateway.
func setAddress(name, address string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("set the address of %s: %w", name, err)
	}
	defer unix.Close(fd)
	for _, set := range []struct {
		request uint
		ip      net.IP
	}{{unix.SIOCSIFADDR, net.ParseIP(address)}, {unix.SIOCSIFNETMASK, mask}} {
		req, err := unix.NewIfreq(name)
		if err == nil {
			err = req.SetInet4Addr(set.ip.To4())
		}
		if err == nil {
			err = unix.IoctlIfreq(fd, set.request, req)
		}
		if err != nil {
			return fmt.Errorf("set the address of %s: %w", name, err)
		}
	}
	if err := linkUp(name); err != nil {
		return err
	}
	r := route{dst: inet4(net.IPv4zero), gateway: inet4(gateway), mask: inet4(net.IPv4zero), flags: unix.RTF_UP | unix.RTF_GATEWAY}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCADDRT, uintptr(unsafe.Pointer(&r))); errno != 0 {
		return fmt.Errorf("set the route by %s: %w", gateway, os.NewSyscallError("ioctl", errno))
	}
	return nil
}

func inet4(ip net.IP) unix.RawSockaddrInet4 {
	a := unix.RawSockaddrInet4{Family: unix.AF_INET}
	copy(a.Addr[:], ip.To4())
	return a
}
