package journald

import (
	"os"

	"golang.org/x/sys/unix"
)

// writeFile sends what is too long for a datagram in a sealed file in memory.
func (j *Sink) writeFile(message []byte) error {
	fd, err := unix.MemfdCreate("ebpfguard-alert", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(fd), "memfd")
	defer file.Close()
	if _, err := file.Write(message); err != nil {
		return err
	}
	const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		return err
	}
	_, _, err = j.conn.WriteMsgUnix(nil, unix.UnixRights(fd), j.socket)
	return err
}
