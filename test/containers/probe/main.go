// Command probe is what the containers of the tests run. It does what its arguments say, one after the other:
//
//	stamp FILE       write to the file how many nanoseconds after the machine's start this is
//	open FILE        open the file for reading; if that fails the exit status is the error's number
//	write FILE TEXT  write the text to the file; likewise
//	bind PORT        take the TCP port; likewise
//	connect ADDRESS  connect a UDP socket, which sends nothing; likewise
//	cgroupns         leave the control group namespace for a new one; likewise
//	exec PROGRAM     become another program, with the arguments that follow; likewise
//	wait             wait until the end
//	exit             end, with status 0
package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// other is the exit status for what has no number.
const other = 200

func main() {
	runtime.LockOSThread() // what is left is left by one thread
	args := os.Args[1:]
	if len(args) == 0 {
		args = []string{"wait"} // as the first process of a pod
	}
	for len(args) > 0 {
		var err error
		switch {
		case args[0] == "stamp" && len(args) > 1:
			err = stamp(args[1])
			args = args[2:]
		case args[0] == "open" && len(args) > 1:
			var f *os.File
			if f, err = os.Open(args[1]); err == nil {
				f.Close()
			}
			args = args[2:]
		case args[0] == "write" && len(args) > 2:
			err = write(args[1], args[2])
			args = args[3:]
		case args[0] == "bind" && len(args) > 1:
			_, err = net.Listen("tcp4", ":"+args[1]) // open to the end
			args = args[2:]
		case args[0] == "connect" && len(args) > 1:
			_, err = net.Dial("udp4", args[1])
			args = args[2:]
		case args[0] == "cgroupns":
			err = unix.Unshare(unix.CLONE_NEWCGROUP)
			args = args[1:]
		case args[0] == "exec" && len(args) > 1:
			err = syscall.Exec(args[1], args[1:], os.Environ())
			args = nil
		case args[0] == "wait":
			<-signals()
			return
		case args[0] == "exit":
			return
		default:
			err = fmt.Errorf("%q is nothing that probe can do", args)
		}
		if err == nil {
			continue
		}
		fmt.Fprintln(os.Stderr, "probe:", err)
		var number syscall.Errno
		if errors.As(err, &number) {
			os.Exit(int(number))
		}
		os.Exit(other)
	}
}

func stamp(name string) error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return err
	}
	return write(name, strconv.FormatInt(now.Nano(), 10))
}

// write leaves no half of a file to be seen.
func write(name, text string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
