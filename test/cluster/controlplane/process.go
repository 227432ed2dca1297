package controlplane

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// process is one of the control plane's programs.
type process struct {
	name, log string
	cmd       *exec.Cmd
	// ended is closed when it has ended.
	ended chan struct{}
}

// startProcess starts a program that dies with this one: the kernel sees to it when the thread ends that started it, so
// that thread is kept. What it prints is added to NAME.log.
func startProcess(dir, name, program string, arguments ...string) (*process, error) {
	p := &process{name: name, log: filepath.Join(dir, name+".log"), ended: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	p.cmd = exec.Command(program, arguments...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		log.Close()
		started <- err
		if err == nil {
			_ = p.cmd.Wait()
			close(p.ended)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

// kill ends the process and waits for its end.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// tail returns the end of its log.
func (p *process) tail() string {
	const lines = 25
	raw, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	text := strings.Split(strings.TrimSpace(string(raw)), "\n")
	return strings.Join(text[max(0, len(text)-lines):], "\n")
}
