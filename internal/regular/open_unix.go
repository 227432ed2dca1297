//go:build unix

package regular

import "syscall"

// dontWait keeps an open of a named pipe from waiting for who writes to it, and of a terminal from
// making it this process's own.
const dontWait = syscall.O_NONBLOCK | syscall.O_NOCTTY
