package vmtest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	hostKeyring    = "/usr/share/keyrings/debian-archive-keyring.gpg"
	keyringPackage = "debian-archive-keyring"
)

// archive is an apt of our own: its sources, state and cache lie in one folder, so that other suites than the machine's
// can be read without touching the machine's configuration. apt itself checks every signature and hash.
type archive struct {
	dir string
	// keyrings are the files apt accepts signatures from.
	keyrings []string
}

// openArchive prepares the private configuration for the suites, the mirror being the one the machine uses.
func openArchive(ctx context.Context, cache, arch string, suites []string) (*archive, error) {
	a := &archive{dir: filepath.Join(cache, "apt", strings.Join(append([]string{arch}, suites...), "_")), keyrings: []string{hostKeyring}}
	if _, err := os.Stat(hostKeyring); err != nil {
		return nil, fmt.Errorf("open the Debian archive: %w; run `apt-get install %s`", err, keyringPackage)
	}
	if extra, err := filepath.Glob(filepath.Join(cache, "keyring", "*.gpg")); err == nil {
		a.keyrings = append(a.keyrings, extra...)
	}
	for _, dir := range []string{"state/lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(a.dir, dir), 0o755); err != nil {
			return nil, err
		}
	}
	mirror, security, err := mirrors(ctx)
	if err != nil {
		return nil, err
	}
	settings, err := machineSettings(ctx)
	if err != nil {
		return nil, err
	}
	for name, content := range map[string]string{
		"status":       "",
		"sources.list": sourcesList(suites, mirror, security, a.keyrings),
		"apt.conf":     aptConf(a.dir, arch) + settings,
	} {
		if err := os.WriteFile(filepath.Join(a.dir, name), []byte(content), 0o644); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func sourcesList(suites []string, mirror, security string, keyrings []string) string {
	var b strings.Builder
	for _, suite := range suites {
		uri := mirror
		if strings.HasSuffix(suite, "-security") {
			uri = security
		}
		fmt.Fprintf(&b, "deb [signed-by=%s] %s %s main\n", strings.Join(keyrings, ","), uri, suite)
	}
	return b.String()
}

// aptConf does not let apt change to its own user when root runs it: that user cannot reach a cache in root's home.
func aptConf(dir, arch string) string {
	return fmt.Sprintf(`Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::sourcelist "%[1]s/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::trusted "/dev/null";
Dir::Etc::trustedparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "%[1]s/state";
Dir::State::status "%[1]s/status";
Dir::Cache "%[1]s/cache";
APT::Architecture "%[2]s";
APT::Architectures "%[2]s";
APT::Sandbox::User "root";
APT::Install-Recommends "false";
APT::Install-Suggests "false";
Acquire::Languages "none";
`, dir, arch)
}

// machineSettings takes over how the machine reaches its mirror (proxies, timeouts, validity checks), but none of its
// hooks, which would act on the machine itself.
func machineSettings(ctx context.Context) (string, error) {
	out, err := command(ctx, "", nil, "apt-config", "dump", "Acquire")
	if err != nil {
		return "", fmt.Errorf("read the machine's apt configuration: %w", err)
	}
	var b strings.Builder
	for line := range strings.Lines(string(out)) {
		for _, prefix := range []string{"Acquire::http", "Acquire::https", "Acquire::Check-", "Acquire::Retries", "Acquire::ForceIPv"} {
			if strings.HasPrefix(line, prefix) {
				b.WriteString(line)
				break
			}
		}
	}
	return b.String(), nil
}

// mirrors finds where this machine gets Debian from.
func mirrors(ctx context.Context) (mirror, security string, err error) {
	out, err := command(ctx, "", nil, "apt-get", "indextargets", "--format", "$(LABEL)\t$(CODENAME)\t$(REPO_URI)", "Created-By: Packages")
	if err != nil {
		return "", "", fmt.Errorf("find the machine's Debian mirror: %w", err)
	}
	mirror, security = parseMirrors(string(out))
	if mirror == "" {
		return "", "", errors.New("find the machine's Debian mirror: `apt-get indextargets` names none; the kernels come from Debian, so run `apt-get update` on a Debian machine, or copy a filled cache and set " + CacheEnv)
	}
	return mirror, security, nil
}

func parseMirrors(targets string) (mirror, security string) {
	for line := range strings.Lines(targets) {
		fields := strings.Split(strings.TrimSpace(line), "\t")
		if len(fields) != 3 {
			continue
		}
		switch fields[0] {
		case "Debian":
			mirror = fields[2]
		case "Debian-Security":
			security = fields[2]
		}
	}
	if security == "" && mirror != "" {
		// Debian's mirrors serve the security archive beside the main one.
		security = strings.TrimSuffix(mirror, "/") + "-security/"
	}
	return mirror, security
}

// update reads the suites' indexes. A signature by a key this machine does not know yet is an error like any other.
func (a *archive) update(ctx context.Context) error {
	if _, err := a.run(ctx, "", "apt-get", "-q", "--error-on=any", "update"); err != nil {
		return fmt.Errorf("read the indexes of %s: %w", filepath.Base(a.dir), err)
	}
	return nil
}

// names lists the packages whose names begin with the prefix.
func (a *archive) names(ctx context.Context, prefix string) ([]string, error) {
	out, err := a.run(ctx, "", "apt-cache", "pkgnames", prefix)
	if err != nil {
		return nil, err
	}
	return strings.Fields(string(out)), nil
}

// show returns the fields of the package's newest version.
func (a *archive) show(ctx context.Context, name string) (map[string]string, error) {
	out, err := a.run(ctx, "", "apt-cache", "show", "--no-all-versions", name)
	if err != nil {
		return nil, err
	}
	fields := make(map[string]string)
	scanner := bufio.NewScanner(bytes.NewReader(out))
	for scanner.Scan() {
		if key, value, ok := strings.Cut(scanner.Text(), ": "); ok && !strings.HasPrefix(key, " ") {
			fields[key] = value
		}
	}
	return fields, scanner.Err()
}

// run executes one of apt's commands with the private configuration.
func (a *archive) run(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	return command(ctx, dir, []string{"APT_CONFIG=" + filepath.Join(a.dir, "apt.conf")}, name, args...)
}

// command runs a host tool in the C locale and puts what it printed into the error.
func command(ctx context.Context, dir string, env []string, name string, args ...string) ([]byte, error) {
	path, err := tool(name)
	if err != nil {
		return nil, err
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive"), env...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return out, nil
}
