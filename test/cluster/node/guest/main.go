// Command guest makes a guest a node of a cluster: it starts containerd and kubelet, starts them again when they end, and
// does on the node what the test asks over HTTP. It runs below the guest's init, with the disk of test/cluster/node.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/test/cluster/node/wire"
)

func main() {
	apiServer := flag.String("apiserver", "", "`address` of the API server, as this guest reaches it")
	service := flag.String("service", "", "`address` of the service kubernetes in the cluster")
	flag.Parse()
	if err := run(*apiServer, *service); err != nil {
		fmt.Println("node:", err)
		os.Exit(1)
	}
}

func run(apiServer, service string) error {
	if err := prepare(); err != nil {
		return fmt.Errorf("prepare the guest: %w", err)
	}
	f, err := newForwarder(service, apiServer)
	if err != nil {
		return fmt.Errorf("forward the API server's address: %w", err)
	}
	go supervise("containerd", "--config", wire.ContainerdConfig)
	if err := importImages(); err != nil {
		return err
	}
	go supervise("kubelet", "--config="+wire.KubeletConfig, "--kubeconfig="+wire.Kubeconfig,
		"--hostname-override="+hostname(), "--node-ip="+address(), "--node-labels="+labels())
	fmt.Println("node: containerd and kubelet were started")
	return serve(f)
}

// prepare makes the guest what kubelet and containerd expect of a machine.
func prepare() error {
	if err := ownRoot(); err != nil {
		return err
	}
	for _, dir := range []string{wire.Logs, "/var/lib/kubelet", "/run/lock", "/tmp"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("share the mounts: %w", err)
	}
	// What was a container before a power failure is none now.
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		return err
	}
	return unix.Sethostname([]byte(hostname()))
}

// ownRoot gives root what the host's user owned who made the disk.
func ownRoot() error {
	info, err := os.Stat(wire.KubeletConfig)
	if err != nil {
		return err
	}
	var root, here unix.Stat_t
	if err := unix.Stat("/", &root); err != nil {
		return err
	}
	if err := unix.Stat(wire.KubeletConfig, &here); err != nil || here.Uid == 0 && info.Mode().IsRegular() {
		return err
	}
	return filepath.WalkDir("/", func(path string, d os.DirEntry, err error) error {
		var s unix.Stat_t
		if err == nil {
			err = unix.Lstat(path, &s)
		}
		switch {
		case errors.Is(err, os.ErrNotExist):
			return nil
		case err != nil:
			return err
		case s.Dev != root.Dev && d.IsDir():
			return filepath.SkipDir
		}
		return os.Lchown(path, 0, 0)
	})
}

func hostname() string { return os.Getenv(wire.NameEnv) }
func address() string  { return os.Getenv(wire.AddressEnv) }
func labels() string   { return os.Getenv(wire.LabelsEnv) }

// importImages gives containerd the archives of the disk, at the first boot.
func importImages() error {
	archives, err := filepath.Glob(wire.Images + "/*.tar")
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		out, err := exec.Command("/usr/local/bin/ctr", "version").CombinedOutput()
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("containerd does not answer: %w: %s", err, out)
		}
	}
	for _, archive := range archives {
		if err := wire.Import(archive); err != nil {
			return err
		}
		if err := os.Remove(archive); err != nil {
			return err
		}
	}
	return nil
}
