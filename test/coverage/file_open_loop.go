package coverage

import (
	"golang.org/x/sys/unix"
)

// loopDevice opens a loop device that no other way uses.
func loopDevice(e *Env) int {
	return need(unix.Open(pick(e, "/dev/loop4", "/dev/loop5"), unix.O_RDWR|unix.O_CLOEXEC, 0))
}

// readLoop reads through a loop device that a file was handed to, and takes the file back.
func readLoop(loop int, err error) error {
	defer unix.Close(loop) // else the device cannot be used again
	if err != nil {
		return err
	}
	_, err = unix.Pread(loop, make([]byte, 512), 0)
	must(unix.IoctlSetInt(loop, unix.LOOP_CLR_FD, 0))
	return err
}

// device makes the file a node of a device, and notes the number for another node.
func device(mode uint32, number func(*Env) (major, minor uint32)) func(*Env) error {
	return func(e *Env) error {
		must(unix.Unlink(e.File()))
		major, minor := number(e)
		e.Set("device", int(unix.Mkdev(major, minor)))
		return unix.Mknod(e.File(), mode|0o600, int(unix.Mkdev(major, minor)))
	}
}

// deviceWays open a device by another node than the one that a rule names.
func deviceWays() []Way {
	second := func(mode uint32) func(*Env) error {
		return func(e *Env) error {
			must(unix.Mknod(e.Path("node"), mode|0o600, e.Int("device")))
			return open(e.Path("node"), unix.O_RDONLY)
		}
	}
	memory := func(e *Env) (uint32, uint32) { return 1, pick[uint32](e, 7, 9) } // full, urandom
	loop := func(e *Env) (uint32, uint32) {                                     // loop6; what has its number is not minor 6 everywhere
		var stat unix.Stat_t
		must(unix.Stat(pick(e, "/dev/loop6", "/dev/loop3"), &stat))
		return unix.Major(stat.Rdev), unix.Minor(stat.Rdev)
	}
	return []Way{
		{ID: "device-second-node", Description: "another node (mknod(2)) of a character device that the rule names", Setup: device(unix.S_IFCHR, memory), Do: second(unix.S_IFCHR)},
		{ID: "block-device-second-node", Description: "another node (mknod(2)) of a block device that the rule names", Setup: device(unix.S_IFBLK, loop), Do: second(unix.S_IFBLK)},
		{ID: "device-other-name", Description: "the system's own node of a device that the rule names by another node", Setup: device(unix.S_IFCHR, memory), Do: func(e *Env) error {
			return open(pick(e, "/dev/full", "/dev/urandom"), unix.O_RDONLY)
		}},
	}
}

// loopWays read a file through a loop device that it is handed to by a descriptor that is not for reading, or is from
// before the policy.
func loopWays() []Way {
	large := func(e *Env) error { return unix.Truncate(e.File(), 1<<16) }
	configure := func(loop, fd int) error {
		config := unix.LoopConfig{Fd: uint32(fd)}
		return unix.IoctlLoopConfigure(loop, &config)
	}
	writer := func(e *Env) int { return need(unix.Open(e.File(), unix.O_WRONLY|unix.O_CLOEXEC, 0)) }
	inherited := func(e *Env) error {
		must(large(e))
		e.PassFD(need(unix.Open(e.File(), unix.O_RDONLY|unix.O_CLOEXEC, 0)))
		return nil
	}
	return []Way{
		{ID: "loop-set-fd", Needs: []string{"loop_write_only"}, Object: "read", Description: "rule with access: [read]: LOOP_SET_FD of a descriptor for writing", Setup: large, Do: func(e *Env) error {
			loop := loopDevice(e)
			return readLoop(loop, unix.IoctlSetInt(loop, unix.LOOP_SET_FD, writer(e)))
		}},
		{ID: "loop-configure", Needs: []string{"loop_write_only"}, Object: "read", Description: "rule with access: [read]: LOOP_CONFIGURE of a descriptor for writing", Setup: large, Do: func(e *Env) error {
			loop := loopDevice(e)
			return readLoop(loop, configure(loop, writer(e)))
		}},
		{ID: "loop-set-fd-inherited", Description: "LOOP_SET_FD of a descriptor from before the policy", Setup: inherited, Do: func(e *Env) error {
			loop := loopDevice(e)
			return readLoop(loop, unix.IoctlSetInt(loop, unix.LOOP_SET_FD, e.Passed(0)))
		}},
		{ID: "loop-configure-inherited", Description: "LOOP_CONFIGURE of a descriptor from before the policy", Setup: inherited, Do: func(e *Env) error {
			loop := loopDevice(e)
			return readLoop(loop, configure(loop, e.Passed(0)))
		}},
	}
}
