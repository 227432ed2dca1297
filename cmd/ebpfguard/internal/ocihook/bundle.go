package ocihook

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// commands are those of crun and runc: the first of them among the arguments is the one that is called, what
// is before it are options and their values.
var commands = []string{"checkpoint", "create", "delete", "events", "exec", "features", "kill", "list", "mounts", "pause", "ps", "restore",
	"resume", "run", "spec", "start", "state", "update"}

// Entry is a program that a runtime calls, as a config.json has it.
type Entry struct {
	Path    string   `json:"path"`
	Args    []string `json:"args,omitempty"`
	Env     []string `json:"env,omitempty"`
	Timeout int      `json:"timeout,omitempty"`
}

// Bundle returns the bundle that a runtime with these arguments makes a container of; empty if it makes
// none.
func Bundle(args []string) string {
	at := slices.IndexFunc(args, func(a string) bool { return slices.Contains(commands, a) })
	if at < 0 || !slices.Contains([]string{"create", "run", "restore"}, args[at]) {
		return ""
	}
	rest := args[at+1:]
	for i, arg := range rest {
		name, value, given := strings.Cut(arg, "=")
		switch {
		case name != "--bundle" && name != "-bundle" && name != "-b":
		case given:
			return value
		case i+1 < len(rest):
			return rest[i+1]
		}
	}
	return "."
}

// AddHook puts the hook into the config.json of a bundle, in place of one that is there from a start
// before. It leaves all else as it is.
func AddHook(bundle string, hook Entry) error {
	path := filepath.Join(bundle, "config.json")
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("add the hook to the bundle: %w", err)
	}
	config, hooks := map[string]json.RawMessage{}, map[string]json.RawMessage{}
	err = json.Unmarshal(data, &config)
	if raw, ok := config["hooks"]; ok && err == nil {
		err = json.Unmarshal(raw, &hooks)
	}
	for _, stage := range []string{"createRuntime", "poststop"} {
		if err == nil {
			hooks[stage], err = withHook(hooks[stage], hook)
		}
	}
	if err == nil {
		config["hooks"], err = json.Marshal(hooks)
	}
	if err == nil {
		data, err = json.Marshal(config)
	}
	if err != nil {
		return fmt.Errorf("add the hook to %s: %w", path, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("add the hook to the bundle: %w", err)
	}
	tmp, err := os.CreateTemp(bundle, ".config.json.*")
	if err != nil {
		return fmt.Errorf("add the hook to the bundle: %w", err)
	}
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Chmod(info.Mode().Perm()), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("add the hook to the bundle: %w", err), os.Remove(tmp.Name()))
	}
	return nil
}

// withHook returns the hooks of a stage with this one before the others.
func withHook(raw json.RawMessage, hook Entry) (json.RawMessage, error) {
	var others []json.RawMessage
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &others); err != nil {
			return nil, err
		}
	}
	first, err := json.Marshal(hook)
	if err != nil {
		return nil, err
	}
	all := []json.RawMessage{first}
	for _, o := range others {
		var e Entry
		if json.Unmarshal(o, &e) == nil && e.Path == hook.Path && len(e.Args) > 2 && slices.Equal(e.Args[:3], hook.Args[:3]) {
			continue
		}
		all = append(all, o)
	}
	return json.Marshal(all)
}
