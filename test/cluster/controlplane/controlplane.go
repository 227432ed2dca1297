// Package controlplane runs the control plane of a Kubernetes cluster on this machine, for tests: etcd of Debian, and
// kube-apiserver, with the controller manager and the scheduler where they are wanted, as test/cluster/kubernetes has
// them. It takes ports of the loopback, a folder for its files, and no root.
//
// A test says
//
//	c := controlplane.New(t, controlplane.Options{})
//	client, err := kubernetes.NewForConfig(c.Admin())
//
// and has an API server of its own some seconds later. It ends with the test. Its certificates are real: [ControlPlane.User]
// returns how to reach it as anybody, [ControlPlane.Kubeconfig] the same as a file, [ControlPlane.Kubectl] runs kubectl as
// the administrator. [ControlPlane.StopAPIServer] and [ControlPlane.StartAPIServer] are an API server that goes
// away and comes back at the same address.
//
// With [Options].Controllers the objects come to life as in any cluster: service accounts get made and their tokens work,
// what is deleted takes along what it owns, and a DaemonSet makes pods, which no node runs. Without them there is no check
// that a pod's service account exists.
//
// To build Kubernetes takes ten minutes of a processor, once, and so tests of this kind have the build tag k8s: make
// test-k8s-fast runs those below test/cluster that need no guest.
package controlplane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/ebpfguard/ebpfguard/internal/vmtest"
)

// Options are what a control plane has besides etcd and an API server.
type Options struct {
	// Controllers and Scheduler start kube-controller-manager and kube-scheduler.
	Controllers, Scheduler bool
	// APIServer and ControllerManager are further arguments of these programs.
	APIServer, ControllerManager []string
	// Dir is where its files are; a folder for temporary files if empty.
	Dir string
	// Warn is told what takes long.
	Warn func(string)
}

// ControlPlane is one that runs.
type ControlPlane struct {
	// Programs is the folder with the programs of Kubernetes, kubectl and kubelet among them.
	Programs string
	// Dir has its logs, certificates and data, and Port is the API server's.
	Dir  string
	Port int

	options    Options
	temporary  bool
	authority  *authority
	etcd       string
	api        *process
	proxy      *proxy
	everything []*process
}

// startTime is how long a program may take until it answers: a busy machine takes ten times as long as a quiet one.
const startTime = 2 * time.Minute

// Start starts a control plane. It ends by Stop, or with this process.
func Start(ctx context.Context, o Options) (*ControlPlane, error) {
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	c := &ControlPlane{Dir: o.Dir, options: o, temporary: o.Dir == ""}
	err := c.start(ctx)
	if err != nil {
		c.Stop()
		return nil, fmt.Errorf("start a control plane: %w", err)
	}
	return c, nil
}

func (c *ControlPlane) start(ctx context.Context) error {
	working, err := os.Getwd()
	if err != nil {
		return err
	}
	root := vmtest.Root(working)
	if root == "" {
		return errors.New("the programs are built in a checkout of ebpfguard; run it inside one")
	}
	if c.Programs, err = vmtest.BuildTools(ctx, filepath.Join(root, "test/cluster/kubernetes"), runtime.GOARCH, c.options.Warn); err != nil {
		return err
	}
	debian, err := vmtest.FetchPrograms(ctx, runtime.GOARCH, []string{"etcd-server"}, c.options.Warn)
	if err != nil {
		return err
	}
	if c.Dir == "" {
		if c.Dir, err = os.MkdirTemp("", "ebpfguard-cluster-"); err != nil {
			return err
		}
	}
	if c.Dir, err = filepath.Abs(c.Dir); err != nil {
		return err
	}
	ports, err := FreePorts(3)
	if err != nil {
		return err
	}
	c.Port = ports[0]
	if err := c.startProxy(); err != nil {
		return err
	}
	if c.authority, err = newAuthority(); err != nil {
		return err
	}
	if err := c.writeCertificates(); err != nil {
		return err
	}
	if err := c.startEtcd(filepath.Join(debian, "usr/bin/etcd"), ports[1], ports[2]); err != nil {
		return err
	}
	if err := c.StartAPIServer(ctx); err != nil {
		return err
	}
	return c.startOthers()
}

// FreePorts returns ports of the loopback that nobody has at the moment.
func FreePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// Stop ends everything, and removes the folder unless it was given.
func (c *ControlPlane) Stop() {
	for _, p := range c.everything {
		p.kill()
	}
	if c.api != nil {
		c.api.kill()
	}
	if c.proxy != nil {
		c.proxy.listener.Close()
	}
	if c.temporary {
		_ = os.RemoveAll(c.Dir)
	}
}

// Running reports whether the API server was started and not stopped.
func (c *ControlPlane) Running() bool { return c.api != nil }

// StopAPIServer ends the API server alone, as a crash does.
func (c *ControlPlane) StopAPIServer() {
	c.api.kill()
	c.api = nil
}

func (c *ControlPlane) startEtcd(program string, client, peer int) error {
	c.etcd = "http://127.0.0.1:" + strconv.Itoa(client)
	p, err := startProcess(c.Dir, "etcd", program, "--data-dir="+filepath.Join(c.Dir, "etcd"),
		"--listen-client-urls="+c.etcd, "--advertise-client-urls="+c.etcd,
		"--listen-peer-urls=http://127.0.0.1:"+strconv.Itoa(peer), "--unsafe-no-fsync", "--log-level=error")
	if err != nil {
		return err
	}
	c.everything = append(c.everything, p)
	return nil
}

func (c *ControlPlane) startOthers() error {
	var programs [][]string
	if c.options.Controllers {
		programs = append(programs, append([]string{"kube-controller-manager", "--service-account-private-key-file=" + c.file(accountKey),
			"--root-ca-file=" + c.file(caCertificate), "--allocate-node-cidrs", "--cluster-cidr=10.244.0.0/16",
			// A node in a guest is slow, and one that boots again is not gone.
			"--node-monitor-grace-period=5m"}, c.options.ControllerManager...))
	}
	if c.options.Scheduler {
		programs = append(programs, []string{"kube-scheduler"})
	}
	for _, command := range programs {
		name := command[0]
		config, err := c.Kubeconfig("system:"+name, "system:masters")
		if err != nil {
			return err
		}
		port, err := FreePorts(1)
		if err != nil {
			return err
		}
		arguments := append(command[1:], "--kubeconfig="+config, "--leader-elect=false", "--bind-address=127.0.0.1", "--secure-port="+strconv.Itoa(port[0]))
		p, err := startProcess(c.Dir, name, filepath.Join(c.Programs, name), arguments...)
		if err != nil {
			return err
		}
		c.everything = append(c.everything, p)
	}
	return nil
}
