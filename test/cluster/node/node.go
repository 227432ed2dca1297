// Package node makes real nodes for a cluster of test/cluster/controlplane: a guest of internal/vmtest with kubelet,
// containerd and runc, on a disk that survives its power failures.
package node

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/test/cluster/controlplane"
	"github.com/ebpfguard/ebpfguard/test/cluster/node/wire"
)

// Options are what a node is.
type Options struct {
	// Number tells nodes apart, from 1; the name is node-NUMBER.
	Number int
	// Kernel is a name of the table in internal/vmtest/kernels.go.
	Kernel string
	// Images are archives that the node has from the start.
	Images []string
	// Labels are those of the node.
	Labels map[string]string
	// Log receives what the guest tells, and the kernel's log if it dies.
	Log io.Writer
	// MemoryMiB defaults to 3072.
	MemoryMiB int
}

// Node is one that was made.
type Node struct {
	Name string
	// Address is the node's in its own network, which only the API server reaches.
	Address string

	options Options
	cluster *controlplane.ControlPlane
	dir     string
	program string
	control string
	kubelet string
	// off ends the guest, and ended is closed when it has.
	off   context.CancelFunc
	ended chan struct{}
	err   error
}

// bootTime is how long an emulated guest may take until containerd and kubelet run.
const bootTime = 10 * time.Minute

// New makes a node, which Boot starts.
func New(ctx context.Context, c *controlplane.ControlPlane, o Options) (*Node, error) {
	o.Number, o.Log = cmp.Or(o.Number, 1), cmp.Or(o.Log, io.Discard)
	n := &Node{Name: "node-" + strconv.Itoa(o.Number), Address: "10.0.2." + strconv.Itoa(20+o.Number), options: o, cluster: c}
	n.dir = filepath.Join(c.Dir, n.Name)
	if err := n.make(ctx); err != nil {
		return nil, fmt.Errorf("make %s: %w", n.Name, err)
	}
	return n, nil
}

// Boot switches the node on and waits until containerd and kubelet were started.
func (n *Node) Boot(ctx context.Context) error {
	kernel, err := vmtest.ByName(cmp.Or(n.options.Kernel, "6.12"))
	if err != nil {
		return err
	}
	ports, err := controlplane.FreePorts(2)
	if err != nil {
		return err
	}
	n.control, n.kubelet = loopback(ports[0]), loopback(ports[1])
	n.cluster.Route(net.JoinHostPort(n.Address, wire.KubeletPort), n.kubelet)
	config := vmtest.Config{
		Kernel: kernel, Disk: filepath.Join(n.dir, diskFile), Binary: n.program,
		Args:    []string{"-apiserver", net.JoinHostPort(vmtest.Gateway, strconv.Itoa(n.cluster.Port)), "-service", controlplane.ServiceAddress},
		Env:     []string{wire.NameEnv + "=" + n.Name, wire.AddressEnv + "=" + n.Address, wire.LabelsEnv + "=" + labels(n.options.Labels)},
		Network: &vmtest.Network{Address: n.Address, Forward: map[string]string{n.control: wire.Port, n.kubelet: wire.KubeletPort}},
		Modules: []string{"overlay", "veth"},
		CPUs:    1, MemoryMiB: cmp.Or(n.options.MemoryMiB, 3072), Timeout: 6 * time.Hour, Stdout: n.options.Log, Stderr: n.options.Log,
	}
	var running context.Context
	running, n.off = context.WithCancel(context.WithoutCancel(ctx))
	n.ended = make(chan struct{})
	go func() {
		defer close(n.ended)
		_, n.err = vmtest.Run(running, config)
	}()
	return n.await(ctx, bootTime, "the guest's program", func(ctx context.Context) error {
		r, err := n.Run(ctx, "/usr/bin/busybox", "true")
		if err == nil && r.Exit != 0 {
			err = errors.New(r.Output + r.Error)
		}
		return err
	})
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func labels(of map[string]string) string {
	var all []string
	for k, v := range of {
		all = append(all, k+"="+v)
	}
	return strings.Join(all, ",")
}

// PowerOff takes the guest's power away: no program has time to say anything. What containerd and kubelet have written
// is on the disk, which a real machine would see to after half a minute at the latest.
func (n *Node) PowerOff(ctx context.Context) {
	if n.off == nil {
		return
	}
	_, _ = n.post(ctx, "/sync", nil)
	n.off()
	<-n.ended
	n.off = nil
}

// await repeats a question until there is no error.
func (n *Node) await(ctx context.Context, limit time.Duration, what string, is func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		once, cancel := context.WithTimeout(ctx, 20*time.Second)
		err := is(once)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-n.ended:
			return fmt.Errorf("wait for %s: the guest ended: %w", what, n.err)
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w: %w", what, err, ctx.Err())
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// Run runs a program on the node itself, beside all containers.
func (n *Node) Run(ctx context.Context, args ...string) (wire.Result, error) {
	body, err := json.Marshal(wire.Command{Args: args})
	if err != nil {
		return wire.Result{}, err
	}
	answer, err := n.post(ctx, "/run", bytes.NewReader(body))
	var r wire.Result
	if err == nil {
		err = json.Unmarshal(answer, &r)
	}
	return r, err
}

// Import gives the node the image of an archive.
func (n *Node) Import(ctx context.Context, archive string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = n.post(ctx, "/import", f)
	return err
}

// Service says whether the node's pods reach the API server. kubelet does in any case.
func (n *Node) Service(ctx context.Context, open bool) error {
	path := "/service/closed"
	if open {
		path = "/service/open"
	}
	_, err := n.post(ctx, path, nil)
	return err
}

// Log returns the end of a program's log on the node: that of containerd or of kubelet.
func (n *Node) Log(ctx context.Context, name string) string {
	r, err := n.Run(ctx, "/usr/bin/busybox", "tail", "-n", "60", filepath.Join(wire.Logs, name+".log"))
	if err != nil {
		return err.Error()
	}
	return r.Output + r.Error
}

func (n *Node) post(ctx context.Context, path string, body io.Reader) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+n.control+path, body)
	if err != nil {
		return nil, err
	}
	// QEMU accepts connections also while nobody listens in the guest.
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s of %s: %s: %s", path, n.Name, response.Status, answer)
	}
	return answer, err
}

// AwaitReady waits until the cluster calls the node ready.
func (n *Node) AwaitReady(ctx context.Context) error {
	return n.await(ctx, bootTime, "the node to be ready", func(ctx context.Context) error {
		out, err := n.cluster.KubectlContext(ctx, "get", "node", n.Name, "--output",
			`jsonpath={.status.conditions[?(@.type=="Ready")].status}`).CombinedOutput()
		if err == nil && string(out) != "True" {
			err = fmt.Errorf("ready is %q", out)
		}
		return err
	})
}
