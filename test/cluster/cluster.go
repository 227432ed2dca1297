// Package cluster makes a whole Kubernetes cluster of this machine: a control plane, a node in a guest, and the images
// that its pods need, ebpfguard's own among them. Command test/cluster/up has one to try things with.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/test/cluster/controlplane"
	"github.com/ebpfguard/ebpfguard/test/cluster/images"
	"github.com/ebpfguard/ebpfguard/test/cluster/node"
)

// Options are what a cluster has.
type Options struct {
	// Kernel is the node's: a name of the table in internal/vmtest/kernels.go, 6.12 if empty.
	Kernel string
	// Versions are those of ebpfguard's image that the node has.
	Versions []string
	// Log receives what takes long, and what the node tells.
	Log io.Writer
}

// Cluster is one that runs.
type Cluster struct {
	*controlplane.ControlPlane
	Node *node.Node
	// Root is the checkout.
	Root string
	// Helm is the program.
	Helm string

	options Options
	dir     string
	// archives are images of the nodes.
	archives []string
}

// Up makes a cluster whose node is ready. It ends by Down, or with this process.
func Up(ctx context.Context, o Options) (*Cluster, error) {
	c := &Cluster{options: o}
	if err := c.up(ctx, o); err != nil {
		c.Down(ctx)
		return nil, fmt.Errorf("make a cluster: %w", err)
	}
	return c, nil
}

func (c *Cluster) up(ctx context.Context, o Options) error {
	warn := func(s string) { fmt.Fprintln(o.Log, s) }
	working, err := os.Getwd()
	if err != nil {
		return err
	}
	if c.Root = vmtest.Root(working); c.Root == "" {
		return errors.New("there is no checkout of ebpfguard around " + working + "; run it inside one")
	}
	if c.dir, err = os.MkdirTemp("", "ebpfguard-images-"); err != nil {
		return err
	}
	programs, err := vmtest.BuildTools(ctx, filepath.Join(c.Root, "test/cluster/helm"), runtime.GOARCH, warn)
	if err != nil {
		return err
	}
	c.Helm = filepath.Join(programs, "helm")
	if c.archives, err = writeImages(ctx, c.dir, o.Versions, warn); err != nil {
		return err
	}
	if c.ControlPlane, err = controlplane.Start(ctx, controlplane.Options{Controllers: true, Scheduler: true, Warn: warn}); err != nil {
		return err
	}
	c.Node, err = c.AddNode(ctx, 1)
	return err
}

// AddNode makes the node of that number, which is ready then. Whoever asks for another one than the first switches it off.
func (c *Cluster) AddNode(ctx context.Context, number int) (*node.Node, error) {
	n, err := node.New(ctx, c.ControlPlane, node.Options{Number: number, Kernel: c.options.Kernel, Images: c.archives, Log: c.options.Log})
	if err != nil {
		return nil, err
	}
	if err = n.Boot(ctx); err == nil {
		err = n.AwaitReady(ctx)
	}
	if err != nil {
		n.PowerOff(ctx)
		return nil, err
	}
	return n, nil
}

func writeImages(ctx context.Context, dir string, versions []string, warn func(string)) ([]string, error) {
	test, err := images.WriteTest(ctx, dir, warn)
	if err != nil {
		return nil, err
	}
	ssh, err := images.WriteSSH(ctx, dir, warn)
	if err != nil {
		return nil, err
	}
	all := []string{test, ssh}
	for _, version := range versions {
		agent, err := images.Agent(ctx, dir, version)
		if err != nil {
			return nil, err
		}
		all = append(all, agent)
	}
	return all, nil
}

// Down ends everything.
func (c *Cluster) Down(ctx context.Context) {
	if c.Node != nil {
		c.Node.PowerOff(ctx)
	}
	if c.ControlPlane != nil {
		c.Stop()
	}
	_ = os.RemoveAll(c.dir)
}

// Chart is the folder of ebpfguard's chart.
func (c *Cluster) Chart() string { return filepath.Join(c.Root, "deploy/helm/ebpfguard") }

// RunHelm runs Helm as the administrator, and returns what it prints.
func (c *Cluster) RunHelm(ctx context.Context, arguments ...string) ([]byte, error) {
	environment, err := c.Environment()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, c.Helm, arguments...)
	cmd.Env = environment
	return cmd.CombinedOutput()
}

// Environment is one in which kubectl and helm are found and reach the cluster as its administrator. Neither reads nor
// writes what this machine's user has in his home.
func (c *Cluster) Environment() ([]string, error) {
	config, err := c.Kubeconfig("admin", "system:masters")
	if err != nil {
		return nil, err
	}
	return append(os.Environ(), "KUBECONFIG="+config, "HOME="+c.Dir, "XDG_CACHE_HOME="+c.Dir, "XDG_CONFIG_HOME="+c.Dir, "XDG_DATA_HOME="+c.Dir,
		"PATH="+c.Programs+":"+filepath.Dir(c.Helm)+":"+os.Getenv("PATH")), nil
}
