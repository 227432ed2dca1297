package policy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"os/user"
	"strings"
	"time"
)

// SystemNames returns the functions for [ResolveNames] that look names up in this
// system's databases of users and groups, once each. Names that /etc/passwd and
// /etc/group do not have are looked up by getent(1), since a program that is linked
// statically cannot ask the system's other sources (LDAP, SSSD; see nsswitch.conf(5)).
// The errors for names that nobody knows wrap [ErrUnknownName].
func SystemNames() (users, groups func(name string) (uint32, error)) {
	users = remembered(func(name string) (string, error) {
		u, err := user.Lookup(name)
		if errors.As(err, new(user.UnknownUserError)) {
			return getent("user", "passwd", name)
		}
		if err != nil {
			return "", err
		}
		return u.Uid, nil
	})
	groups = remembered(func(name string) (string, error) {
		g, err := user.LookupGroup(name)
		if errors.As(err, new(user.UnknownGroupError)) {
			return getent("group", "group", name)
		}
		if err != nil {
			return "", err
		}
		return g.Gid, nil
	})
	return users, groups
}

// FileNames returns the functions for [ResolveNames] that look names up in /etc/passwd and
// /etc/group as read returns them, for instance those of the host of a container. Other sources
// of users are not asked.
func FileNames(read func(path string) ([]byte, error)) (users, groups func(name string) (uint32, error)) {
	in := func(kind, path string) func(string) (uint32, error) {
		return remembered(func(name string) (string, error) {
			data, err := read(path)
			if err != nil {
				return "", err
			}
			for line := range bytes.Lines(data) {
				if fields := bytes.SplitN(line, []byte(":"), 2); len(fields) == 2 && string(fields[0]) == name {
					return parseAccount(line)
				}
			}
			return "", fmt.Errorf("%s %q %w: only the host's %s was read; for one of another source (LDAP, SSSD) write its number", kind, name, ErrUnknownName, path)
		})
	}
	return in("user", "/etc/passwd"), in("group", "/etc/group")
}

// getentPatience is how long a name may take that a server has to be asked for.
const getentPatience = 10 * time.Second

// notFound is the exit status of getent for a name that no source has.
const notFound = 2

// getent returns the id of a user or group that the name service switch knows.
func getent(kind, database, name string) (string, error) {
	if strings.HasPrefix(name, "-") { // it would be an option
		return "", fmt.Errorf("%s %q %w", kind, name, ErrUnknownName)
	}
	path, err := exec.LookPath("getent")
	if err != nil {
		return "", fmt.Errorf("%s %q %w: only the files of /etc were read, since getent, which asks LDAP and SSSD too, is not installed", kind, name, ErrUnknownName)
	}
	ctx, cancel := context.WithTimeout(context.Background(), getentPatience)
	defer cancel()
	command := exec.CommandContext(ctx, path, database, name)
	command.WaitDelay = time.Second
	output, err := command.Output()
	failed := new(exec.ExitError)
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("%s %q %w: getent %s did not answer within %v", kind, name, ErrUnknownName, database, getentPatience)
	case errors.As(err, &failed) && failed.ExitCode() == notFound:
		return "", fmt.Errorf("%s %q %w", kind, name, ErrUnknownName)
	case err != nil:
		return "", fmt.Errorf("%s %q %w: getent %s failed: %v", kind, name, ErrUnknownName, database, err)
	}
	id, err := parseAccount(output)
	if err != nil {
		return "", fmt.Errorf("%s %q %w: getent %s: %v", kind, name, ErrUnknownName, database, err)
	}
	return id, nil
}

// parseAccount returns the id of a line of passwd(5) or group(5).
func parseAccount(output []byte) (string, error) {
	line, _, _ := bytes.Cut(output, []byte("\n"))
	fields := strings.Split(string(line), ":")
	if len(fields) < 3 || fields[2] == "" || strings.Trim(fields[2], "0123456789") != "" {
		return "", errors.New("the answer has no id")
	}
	return fields[2], nil
}
