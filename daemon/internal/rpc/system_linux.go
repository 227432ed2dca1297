package rpc

import "golang.org/x/sys/unix"

// callerOf asks who is at the other end of a connected Unix socket. Its pid is 0 when it is
// in no pid namespace that this process sees.
func callerOf(fd int) (caller, error) {
	who, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return caller{}, err
	}
	return caller{pid: uint32(who.Pid), uid: who.Uid, gid: who.Gid}, nil
}

func umask(mask int) (former int) { return unix.Umask(mask) }
