// Package checkout knows the version and the time of this repository, and builds its command, the same bytes from the same
// commit.
package checkout

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/modfile"
)

// library is the module that all others of the repository require.
const library = "github.com/ebpfguard/ebpfguard"

// Checkout is what everything is made of.
type Checkout struct {
	// Root is its folder.
	Root string
	// Version is that of what is made.
	Version string
	// Time is the commit's, which every file that is made bears.
	Time time.Time
}

// Read returns the checkout in a folder. An empty version is that of the tag, or one made of the commit.
func Read(root, version string) (Checkout, error) {
	s := Checkout{Root: root, Version: version}
	stamp := os.Getenv("SOURCE_DATE_EPOCH")
	if stamp == "" {
		out, err := s.Command("git", "log", "-1", "--format=%ct")
		if err != nil {
			return s, fmt.Errorf("find the commit's time: %w; outside a git checkout set SOURCE_DATE_EPOCH", err)
		}
		stamp = out
	}
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return s, fmt.Errorf("read the time of the source: %w; SOURCE_DATE_EPOCH is seconds since 1970", err)
	}
	s.Time = time.Unix(seconds, 0).UTC()
	if s.Version != "" {
		return s, nil
	}
	if tag, err := s.Command("git", "describe", "--tags", "--exact-match", "--match", "v*"); err == nil {
		s.Version = strings.TrimPrefix(tag, "v")
		return s, nil
	}
	commit, err := s.Command("git", "rev-parse", "--short=12", "HEAD")
	if err != nil {
		return s, fmt.Errorf("find the commit: %w; outside a git checkout give -version", err)
	}
	next, err := s.Next()
	if err != nil {
		return s, fmt.Errorf("find the version of the next release: %w", err)
	}
	// Sorts before that release, and later commits after earlier ones.
	s.Version = next + "-dev." + s.Time.Format("20060102150405") + "." + commit
	return s, nil
}

// Next returns the version in which the command requires the library: that of the next release.
func (s Checkout) Next() (string, error) {
	path := filepath.Join(s.Root, "cmd", "go.mod")
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	file, err := modfile.Parse(path, raw, nil)
	if err != nil {
		return "", err
	}
	for _, r := range file.Require {
		if r.Mod.Path == library {
			return strings.TrimPrefix(r.Mod.Version, "v"), nil
		}
	}
	return "", fmt.Errorf("%s does not require %s", path, library)
}

// Build compiles the command, statically.
func (s Checkout) Build(to, arch string) error {
	env := []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + arch, "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS="}
	// Nobody looks at gRPC's own traces, and they bring half a megabyte.
	_, err := s.CommandEnv(env, "go", "build", "-trimpath", "-tags=grpcnotrace", "-ldflags=-s -w -buildid= -X main.packaged="+s.Version, "-o", to, "./cmd/ebpfguard")
	if err != nil {
		return fmt.Errorf("build for %s: %w", arch, err)
	}
	return nil
}

// Command runs a program in the checkout and returns what it prints.
func (s Checkout) Command(name string, args ...string) (string, error) {
	return s.CommandEnv(nil, name, args...)
}

// CommandEnv is Command with more of an environment.
func (s Checkout) CommandEnv(env []string, name string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.Root, &stdout, &stderr
	cmd.Env = append(append(os.Environ(), "LC_ALL=C", "TZ=UTC"), env...)
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", filepath.Base(name), strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(stdout.String()), nil
}
