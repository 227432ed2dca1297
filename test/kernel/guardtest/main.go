//go:build vm

package guardtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

const actorEnv = "EBPFGUARD_TEST_ACTOR"

// Self is the command of this program in another role.
func Self(role string) *exec.Cmd {
	command := exec.Command("/proc/self/exe")
	command.Env = append(os.Environ(), actorEnv+"="+role)
	command.Stderr = os.Stderr
	return command
}

// Main runs the tests, or plays the role that this process was started for.
func Main(m *testing.M, roles map[string]func()) {
	if role := os.Getenv(actorEnv); role != "" {
		play, ok := roles[role]
		if !ok {
			play = act
		}
		play()
		return
	}
	fds, goroutines := openFiles(), runtime.NumGoroutine()
	code := Run(m)
	// What tests leave behind is a leak of the library.
	deadline := time.Now().Add(Patience)
	for (openFiles() > fds || runtime.NumGoroutine() > goroutines) && time.Now().Before(deadline) {
		runtime.GC()
		time.Sleep(50 * time.Millisecond)
	}
	if code == 0 && (openFiles() > fds || runtime.NumGoroutine() > goroutines) {
		fmt.Printf("FAIL: leaked: %d files open, %d before; %d goroutines, %d before\n", openFiles(), fds, runtime.NumGoroutine(), goroutines)
		links, _ := filepath.Glob("/proc/self/fd/*")
		for _, l := range links {
			target, _ := os.Readlink(l)
			fmt.Println(l, target)
		}
		stack := make([]byte, 1<<16)
		fmt.Printf("%s\n", stack[:runtime.Stack(stack, true)])
		code = 1
	}
	os.Exit(code)
}

// Run runs the tests and closes the shared guards.
func Run(m *testing.M) int {
	code := m.Run()
	if err := closeShared(code == 0); err != nil {
		fmt.Println("FAIL: closing the shared guards:", err)
		code = 1
	}
	return code
}

func openFiles() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err)
	}
	return len(entries)
}
