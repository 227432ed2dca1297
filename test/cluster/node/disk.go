package node

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"text/template"

	"github.com/ebpfguard/ebpfguard/internal/vmtest"
	"github.com/ebpfguard/ebpfguard/test/cluster/node/wire"
	"github.com/ebpfguard/ebpfguard/test/containers/image"
)

const (
	diskFile = "disk"
	// diskSize is what a node has room for, in MiB.
	diskSize = 4096
)

// packages have what kubelet and containerd call, with the libraries of these.
var packages = []string{
	"busybox-static", "runc", "containernetworking-plugins", "mount",
	"libblkid1", "libc6", "libmount1", "libpcre2-8-0", "libseccomp2", "libselinux1", "libsmartcols1",
}

// PauseImage is that of a pod's first process.
const PauseImage = "docker.io/library/pause:1"

// make makes the node's disk and the program that runs there.
func (n *Node) make(ctx context.Context) error {
	tree := filepath.Join(n.dir, "tree")
	if err := os.MkdirAll(tree, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(tree)
	n.program = filepath.Join(n.dir, "node")
	if err := build(ctx, "./test/cluster/node/guest", n.program); err != nil {
		return err
	}
	for _, step := range []func(context.Context, string) error{n.addPackages, n.addPrograms, n.addImages, n.addSettings} {
		if err := step(ctx, tree); err != nil {
			return err
		}
	}
	return vmtest.MakeDisk(ctx, filepath.Join(n.dir, diskFile), tree, diskSize)
}

// build builds a static program of this checkout.
func build(ctx context.Context, pkg, to string) error {
	working, err := os.Getwd()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", to, pkg)
	cmd.Dir = vmtest.Root(working)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w: %s", pkg, err, out)
	}
	return nil
}

// addPackages makes a merged-usr tree of Debian's packages.
func (n *Node) addPackages(ctx context.Context, tree string) error {
	debian, err := vmtest.FetchPrograms(ctx, runtime.GOARCH, packages, n.warn)
	if err != nil {
		return err
	}
	if err := os.CopyFS(tree, os.DirFS(debian)); err != nil {
		return err
	}
	for _, name := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := os.MkdirAll(filepath.Join(tree, "usr", name), 0o755); err != nil {
			return err
		}
		if err := os.Symlink("usr/"+name, filepath.Join(tree, name)); err != nil {
			return err
		}
	}
	for _, dir := range []string{"dev", "proc", "sys", "run", "tmp", "root", "var/log", "var/lib", "etc"} {
		if err := os.MkdirAll(filepath.Join(tree, dir), 0o755); err != nil {
			return err
		}
	}
	return os.RemoveAll(filepath.Join(tree, "usr/share/doc"))
}

func (n *Node) warn(s string) { fmt.Fprintln(n.options.Log, s) }

// addPrograms adds the runtimes and kubelet.
func (n *Node) addPrograms(ctx context.Context, tree string) error {
	working, err := os.Getwd()
	if err != nil {
		return err
	}
	runtimes, err := vmtest.BuildTools(ctx, filepath.Join(vmtest.Root(working), "test/containers/runtimes"), runtime.GOARCH, n.warn)
	if err != nil {
		return err
	}
	to := filepath.Join(tree, "usr/local/bin")
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, file := range []string{
		filepath.Join(runtimes, "containerd"), filepath.Join(runtimes, "containerd-shim-runc-v2"), filepath.Join(runtimes, "ctr"),
		filepath.Join(n.cluster.Programs, "kubelet"),
	} {
		if err := copyFile(filepath.Join(to, filepath.Base(file)), file); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(to, from string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	raw, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, raw, info.Mode().Perm())
}

// addImages adds archives of images, that of the pods' first process among them.
func (n *Node) addImages(ctx context.Context, tree string) error {
	to := filepath.Join(tree, wire.Images)
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	probe := filepath.Join(n.dir, "probe")
	if err := build(ctx, "./test/containers/probe", probe); err != nil {
		return err
	}
	pause := image.Image{Files: map[string]string{"/bin/probe": probe}, Entrypoint: []string{"/bin/probe"}}
	if _, err := pause.Write(filepath.Join(to, "pause.tar"), PauseImage); err != nil {
		return err
	}
	for i, archive := range n.options.Images {
		if err := copyFile(filepath.Join(to, fmt.Sprintf("%d-%s", i, filepath.Base(archive))), archive); err != nil {
			return err
		}
	}
	return nil
}

// addSettings adds the configuration of everything.
func (n *Node) addSettings(_ context.Context, tree string) error {
	config, err := n.cluster.GuestKubeconfig("system:node:"+n.Name, "system:nodes")
	if err != nil {
		return err
	}
	certificate, key, err := n.cluster.ServerCertificate("kubelet-"+n.Name, n.Name, n.Address)
	if err != nil {
		return err
	}
	for to, from := range map[string]string{
		wire.Kubeconfig: config, "/etc/kubernetes/kubelet.crt": certificate, "/etc/kubernetes/kubelet.key": key,
		"/etc/kubernetes/ca.crt": n.cluster.Authority(),
	} {
		raw, err := os.ReadFile(from)
		if err == nil {
			err = write(tree, to, string(raw))
		}
		if err != nil {
			return err
		}
	}
	for to, text := range settings {
		f, err := template.New(to).Parse(text)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(tree, to)), 0o755); err != nil {
			return err
		}
		file, err := os.Create(filepath.Join(tree, to))
		if err != nil {
			return err
		}
		if err := f.Execute(file, map[string]any{"Name": n.Name, "Number": n.options.Number, "Address": n.Address, "Pause": PauseImage}); err != nil {
			return err
		}
		if err := file.Close(); err != nil {
			return err
		}
	}
	return nil
}

func write(tree, name, text string) error {
	path := filepath.Join(tree, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o600)
}
