package main

import (
	"errors"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"ebpfguard": main, pluginName: main, completionName: main})
}

// TestScript runs the scripts of testdata/script with the command. The command
// "exits" asserts the exit code. A daemon's socket is served in $EBPFGUARD_SOCKET,
// with no policies until "guard" says so.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			guard, socket, stop, err := serveGuard(env.WorkDir)
			if err != nil {
				return err
			}
			env.Defer(stop)
			env.Values[guardKey{}] = guard
			env.Setenv("EBPFGUARD_SOCKET", socket)
			env.Setenv("TZ", "UTC")
			if err := serveCluster(env, socket); err != nil {
				return err
			}
			env.Setenv("GORACE", os.Getenv("GORACE"))
			return nil
		},
		UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":   exits,
			"guard":   setGuard,
			"cluster": setCluster,
		},
	})
}

func TestVersion(t *testing.T) {
	build := &debug.BuildInfo{GoVersion: "go1.26.1", Main: debug.Module{Version: "v1.2.3"}, Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "true"},
	}}
	if got, want := version(build, true), "v1.2.3, commit abc with changes, go1.26.1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := version(&debug.BuildInfo{GoVersion: "go1.26.1"}, true), "v0.4.0-dev, commit unknown, go1.26.1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	packaged = "0.0.1"
	t.Cleanup(func() { packaged = "" })
	if got, want := version(build, true), "0.0.1, commit abc with changes, go1.26.1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// exits runs a command that must end with the exit code: exits 2 command args.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits code command [args...]")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		code = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if want := args[0]; strconv.Itoa(code) != want {
		ts.Fatalf("exit code %d, want %s", code, want)
	}
}

// TestCommands asserts that each command has examples and a place in docs/cli.md.
func TestCommands(t *testing.T) {
	docs, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		if cmd.Example == "" && cmd.HasParent() && cmd.Name() != "help" {
			t.Errorf("%s has no examples", cmd.CommandPath())
		}
		if cmd.Runnable() && cmd.HasParent() && !cmd.Hidden && !strings.Contains(string(docs), cmd.CommandPath()) {
			t.Errorf("docs/cli.md has nothing about %s", cmd.CommandPath())
		}
		for _, c := range cmd.Commands() {
			if c.Name() != "kubectl" { // the plugin's, under another name
				visit(c)
			}
		}
	}
	visit(newRootCommand())
	visit(newPluginCommand())
}

type guardKey struct{}

// setGuard changes what the served daemon does: guard filled|degraded|mitigated|contained.
func setGuard(ts *testscript.TestScript, _ bool, args []string) {
	guard := ts.Value(guardKey{}).(*guardServer)
	guard.mu.Lock()
	defer guard.mu.Unlock()
	for _, arg := range args {
		switch arg {
		case "filled":
			ts.Check(guard.fill())
		case "contained":
			guard.contained = true
		case "degraded":
			guard.degraded = true
		case "mitigated":
			guard.mu.Unlock()
			err := guard.mitigated(9*time.Minute + 41*time.Second)
			guard.mu.Lock()
			ts.Check(err)
		default:
			ts.Fatalf("unknown state %q", arg)
		}
	}
}
