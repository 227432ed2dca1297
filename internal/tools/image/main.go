// Command image builds the container image of the command, without docker and without root. The same commit gives the same
// bytes.
//
//	go run ./internal/tools/image -out dist
//
// It writes an OCI layout with an index of all architectures, and for each architecture an archive that docker load and
// podman load take.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ebpfguard/ebpfguard/internal/tools/checkout"
)

// layoutName is the folder of the OCI layout, below that of the results.
const layoutName = "image"

// maxSize is how large an image may be unpacked, and maxPulled the layer that a machine pulls, in bytes. It was 25 and 9 MB
// before the client of Kubernetes came. What sets a template of cobra's, or calls reflect's Method with a name that only the
// run knows, adds 5 MB at once: then the linker keeps all methods.
const (
	maxSize   = 32_000_000
	maxPulled = 12_000_000
)

type options struct {
	root, out, version, name, rootfs string
	arches                           []string
	check                            bool
	// compile builds the command; tests replace it.
	compile func(to, arch string) error
}

func main() {
	o, err := parse(os.Args[1:])
	if err == flag.ErrHelp {
		return
	}
	if err != nil {
		os.Exit(2)
	}
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	var arch string
	f := flag.NewFlagSet("image", flag.ContinueOnError)
	f.StringVar(&o.root, "root", ".", "`folder` of the checkout")
	f.StringVar(&o.out, "out", "dist", "`folder` for the results, relative to the checkout")
	f.StringVar(&o.version, "version", "", "`version` of the image; the tag, or one made of the commit, if empty")
	f.StringVar(&o.name, "name", "ebpfguard", "`name` of the image in the archives, without tag")
	f.StringVar(&arch, "arch", "amd64,arm64", "comma-separated `architectures`")
	f.StringVar(&o.rootfs, "rootfs", "", "also unpack the image of the first architecture into `folder`, for a runtime's bundle")
	f.BoolVar(&o.check, "check", false, "build everything twice and compare; keep nothing")
	err := f.Parse(args)
	o.arches = strings.Split(arch, ",")
	return o, err
}

func run(o options) error {
	root, err := filepath.Abs(o.root)
	if err != nil {
		return err
	}
	c, err := checkout.Read(root, o.version)
	if err != nil {
		return err
	}
	out := o.out
	if !filepath.IsAbs(out) {
		out = filepath.Join(root, out)
	}
	o.compile = c.Build
	if o.check {
		return check(c, o)
	}
	index, err := build(c, o, out)
	if err != nil {
		return err
	}
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	fmt.Printf("%s %s (OCI layout)\n", digest, filepath.Join(out, layoutName))
	return nil
}

// check builds twice and fails when the index differs, which has the digests of all else.
func check(c checkout.Checkout, o options) error {
	var digests [2]v1.Hash
	for i := range digests {
		dir, err := os.MkdirTemp("", "ebpfguard-image-check-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		index, err := build(c, o, dir)
		if err != nil {
			return err
		}
		if digests[i], err = index.Digest(); err != nil {
			return err
		}
	}
	if digests[0] != digests[1] {
		return fmt.Errorf("two builds of one commit differ: %v", digests)
	}
	fmt.Printf("%s  image (twice the same)\n", digests[0])
	return nil
}

// build makes the images and writes them into a folder.
func build(c checkout.Checkout, o options, out string) (v1.ImageIndex, error) {
	work, err := os.MkdirTemp("", "ebpfguard-image-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, err
	}
	// A plus sign, which versions may have, is no part of a tag.
	tag, err := name.NewTag(o.name + ":" + strings.ReplaceAll(c.Version, "+", "-"))
	if err != nil {
		return nil, fmt.Errorf("name the image: %w", err)
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for i, arch := range o.arches {
		binary := filepath.Join(work, arch)
		if err := o.compile(binary, arch); err != nil {
			return nil, err
		}
		files, err := contents(c, binary)
		if err != nil {
			return nil, err
		}
		image, err := newImage(c, arch, files)
		if err != nil {
			return nil, fmt.Errorf("make the image for %s: %w", arch, err)
		}
		if err := small(image, arch, total(files)); err != nil {
			return nil, err
		}
		archive := filepath.Join(out, fmt.Sprintf("ebpfguard_%s_image_%s.tar", c.Version, arch))
		if err := tarball.WriteToFile(archive, tag, image); err != nil {
			return nil, fmt.Errorf("write %s: %w", archive, err)
		}
		fmt.Println(archive)
		if i == 0 && o.rootfs != "" {
			if err := unpack(o.rootfs, files); err != nil {
				return nil, fmt.Errorf("unpack the image: %w", err)
			}
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{
			Platform: platform(arch), Annotations: map[string]string{"org.opencontainers.image.ref.name": tag.TagStr()},
		}})
	}
	to := filepath.Join(out, layoutName)
	if err := os.RemoveAll(to); err != nil {
		return nil, err
	}
	// The layout has one index, which names each image: so podman and containerd take it as one of several platforms.
	path, err := layout.Write(to, empty.Index)
	if err != nil {
		return nil, fmt.Errorf("write the OCI layout: %w", err)
	}
	annotations := layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": tag.TagStr(), "io.containerd.image.name": tag.Name()})
	if err := path.AppendIndex(index, annotations); err != nil {
		return nil, fmt.Errorf("write the OCI layout: %w", err)
	}
	return index, nil
}

func platform(arch string) *v1.Platform { return &v1.Platform{OS: "linux", Architecture: arch} }

// small fails when an image has grown too large.
func small(image v1.Image, arch string, unpacked int64) error {
	if unpacked > maxSize {
		return fmt.Errorf("the image for %s has %d bytes unpacked; at most %d are meant to be", arch, unpacked, maxSize)
	}
	layers, err := image.Layers()
	if err != nil {
		return err
	}
	var pulled int64
	for _, l := range layers {
		size, err := l.Size()
		if err != nil {
			return err
		}
		pulled += size
	}
	fmt.Printf("%s: %.1f MB to pull, %.1f MB unpacked\n", arch, float64(pulled)/1e6, float64(unpacked)/1e6)
	if pulled > maxPulled {
		return fmt.Errorf("the image for %s has %d bytes to pull; at most %d are meant to be", arch, pulled, maxPulled)
	}
	return nil
}
