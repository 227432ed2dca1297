package config

import (
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/ebpfguard/ebpfguard/daemon/containers"
	"github.com/ebpfguard/ebpfguard/sink"
	"github.com/ebpfguard/ebpfguard/sink/file"
	"github.com/ebpfguard/ebpfguard/sink/journald"
	"github.com/ebpfguard/ebpfguard/sink/setup"
	"github.com/ebpfguard/ebpfguard/sink/stdout"
)

func TestParse(t *testing.T) {
	got, err := Parse("c.yaml", []byte(`
policies: /p
socket: /s
group: adm
pins: ""
state: /st
on_exit: remove
host_root: /host
allow_gaps: true
enrich: false
alert_buffer: 16MiB
outputs:
- type: stdout
  format: text
- type: file
  path: /a.json
  max_bytes: 1048576
  keep: 3
  filter: {operations: [socket_bind], policies: [a-*], verdicts: [deny, kill], severities: [none], binaries: [/usr/]}
- type: journald
containers:
  fail: closed
  sources:
  - type: nri
  - {type: docker, socket: /d.sock}
kubernetes: true
node_name: one
kubeconfig: /k
kubernetes_events: false
fold_window: 0s
debounce: 1s
metrics: 127.0.0.1:1
metrics_anywhere: true
log_level: debug
log_format: json
`))
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Policies: "/p", Socket: "/s", Group: "adm", State: "/st", OnExit: Remove, HostRoot: "/host", AllowGaps: true, AlertBuffer: 16 << 20,
		Outputs: []setup.Spec{
			{Settings: &stdout.Settings{Format: sink.FormatText}},
			{Settings: &file.Settings{Path: "/a.json", Format: sink.FormatJSON, MaxBytes: 1 << 20, Keep: 3}, Filter: sink.Filter{
				Operations: []string{"socket_bind"}, Policies: []string{"a-*"}, Verdicts: []string{"deny", "kill"},
				Severities: []string{"none"}, Binaries: []string{"/usr/"},
			}},
			{Settings: &journald.Settings{}},
		},
		Containers: Containers{Fail: FailClosed, Sources: []containers.Spec{{Type: "nri"}, {Type: "docker", Place: "/d.sock"}}},
		Kubernetes: true, NodeName: "one", Kubeconfig: "/k",
		Debounce: time.Second, Metrics: "127.0.0.1:1", MetricsAnywhere: true, LogLevel: slog.LevelDebug, LogFormat: LogJSON,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	for _, empty := range []string{"", "# nothing\n", "---\n"} {
		if got, err := Parse("c.yaml", []byte(empty)); err != nil || !reflect.DeepEqual(got, Default()) {
			t.Errorf("%q: %v, %+v", empty, err, got)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		// A key that is not known.
		{"polices: /p", `c.yaml:1:1: unknown field "polices" of the configuration; did you mean policies?`},
		{"on-exit: keep", `c.yaml:1:1: unknown field "on-exit" of the configuration; did you mean on_exit?`},
		{"group: a\nfoo: 1", `c.yaml:2:1: unknown field "foo" of the configuration; choose from alert_buffer, allow_gaps, allow_lockout, containers, debounce, ` +
			`enrich, fold_window, group, host_root, kubeconfig, kubernetes, kubernetes_events, log_format, log_level, metrics, metrics_anywhere, node_name, on_exit, outputs, ` +
			`pins, policies, policy_reports, socket, state`},
		{"policy_reports: true\nkubernetes_events: false", "c.yaml:1:17: policy_reports are made of events; leave out kubernetes_events: false"},
		{"policies: /p\npolicies: /q", `c.yaml:2:1: field "policies" of the configuration is already on line 1; remove one`},
		{"outputs:\n- type: stdout\n  path: /x", `c.yaml:3:3: unknown field "path" of an output of type stdout; choose from filter, format, type`},
		{"outputs:\n- type: journald\n  format: json", `c.yaml:3:3: unknown field "format" of an output of type journald; choose from filter, type`},
		{"outputs:\n- {type: file, path: /a, max_byte: 1}", `c.yaml:2:26: unknown field "max_byte" of an output of type file; did you mean max_bytes?`},
		{"outputs:\n- typ: file\n  path: /a", `c.yaml:2:3: unknown field "typ" of an output; did you mean type?`},
		{"outputs:\n- type: journald\n  filter: {verdict: [deny]}", `c.yaml:3:12: unknown field "verdict" of a filter; did you mean verdicts?`},

		// A value of another type.
		{"allow_gaps: 1", "c.yaml:1:13: allow_gaps must be true or false, not 1; write for example allow_gaps: false"},
		{"enrich: yes", `c.yaml:1:9: enrich must be true or false, not "yes"; write for example enrich: true`},
		{"enrich: \"true\"", `c.yaml:1:9: enrich must be true or false, not "true"; write for example enrich: true`},
		{"group: 100", `c.yaml:1:8: group must be text, not 100; if you mean it, write it in quotes: group: "100"`},
		{"group: [a]", "c.yaml:1:8: group must be text, not a list; write for example group: adm"},
		{"group:", "c.yaml:1:7: group has no value; write for example group: adm, or leave it out"},
		{"pins: {a: b}", "c.yaml:1:7: pins must be text, not a mapping; write for example pins: /sys/fs/bpf/ebpfguard"},
		{"metrics: 9477", `c.yaml:1:10: metrics must be text, not 9477; if you mean it, write it in quotes: metrics: "9477"`},
		{"alert_buffer: [1]", "c.yaml:1:15: alert_buffer must be a size, not a list; write for example alert_buffer: 4MiB"},
		{"alert_buffer: true", "c.yaml:1:15: alert_buffer must be a size, not true; write for example alert_buffer: 4MiB"},
		{"debounce: 1.5", "c.yaml:1:11: debounce must be a duration, not 1.5; write for example debounce: 300ms"},
		{"debounce:\n", "c.yaml:1:10: debounce has no value; write for example debounce: 300ms, or leave it out"},
		{"outputs: {type: file}", "c.yaml:1:10: outputs must be a list, not a mapping; write a list: [...]"},
		{"outputs: stdout", `c.yaml:1:10: outputs must be a list, not "stdout"; write a list: [stdout]`},
		{"outputs: [stdout]", `c.yaml:1:11: an output must be a mapping, not "stdout"; write for example {type: stdout}`},
		{"outputs:\n- type: [file]", "c.yaml:2:9: type must be a word, not a list; choose from stdout, file, journald"},
		{"outputs:\n- {type: file, path: /a, keep: many}", `c.yaml:2:32: keep: "many" is not a number from 0; write a number such as 5`},
		{"outputs:\n- {type: stdout, filter: [deny]}", "c.yaml:2:26: a filter must be a mapping, not a list; write filter: {verdicts: [deny]}"},
		{"outputs:\n- {type: stdout, filter: {verdicts: deny}}", `c.yaml:2:37: verdicts must be a list, not "deny"; write a list: [deny]`},
		{"[a]", "c.yaml:1:1: the configuration must be a mapping, not a list; write key: value, such as log_level: info"},
		{"policies", `c.yaml:1:1: the configuration must be a mapping, not "policies"; write key: value, such as log_level: info`},

		// A value that is not allowed.
		{"on_exit: stay", `c.yaml:1:10: on_exit: unknown "stay"; choose from keep, remove`},
		{"on_exit: kep", `c.yaml:1:10: on_exit: unknown "kep"; did you mean keep?`},
		{"log_level: loud", `c.yaml:1:12: log_level: unknown level "loud"; choose from debug, info, warn, error`},
		{"log_format: xml", `c.yaml:1:13: log_format: unknown "xml"; choose from text, json`},
		{"alert_buffer: 8 MB", `c.yaml:1:15: alert_buffer: "8 MB" is not a size; write a number of bytes, or a number with KiB, MiB or GiB`},
		{"group: a\nalert_buffer: 2GiB", "c.yaml:2:15: alert_buffer is 2147483648; choose at most 1GiB"},
		{"debounce: 5", `c.yaml:1:11: debounce: "5" is not a duration; write for example 300ms, 10s or 1m`},
		{"debounce: 5 s", `c.yaml:1:11: debounce: "5 s" is not a duration; write for example 300ms, 10s or 1m`},
		{"debounce: 0s", "c.yaml:1:11: debounce is 0s; choose from 1ms to 1m"},
		{"fold_window: 48h", "c.yaml:1:14: fold_window is 2d; choose from 0s to 1d"},
		{"socket: run/x", `c.yaml:1:9: socket "run/x" is not absolute; write the whole path`},
		{"socket: \"\"", "c.yaml:1:9: socket is empty; write the path of a Unix socket such as /run/ebpfguard/ebpfguard.sock"},
		{"group: a\npolicies: p.d", `c.yaml:2:11: policies "p.d" is not absolute; write the whole path`},
		{"metrics: localhost", `c.yaml:1:10: metrics: address "localhost": address localhost: missing port in address; write HOST:PORT such as 127.0.0.1:9477, or unix:PATH`},
		{"metrics: unix:run/x", "c.yaml:1:10: metrics: unix:run/x: the path is not absolute; write the whole path"},
		{"outputs:\n- type: fil", `c.yaml:2:9: type: unknown "fil"; did you mean file?`},
		{"outputs:\n- type: kafka", `c.yaml:2:9: type: unknown "kafka"; choose from stdout, file, journald`},
		{"outputs:\n- format: json", "c.yaml:2:3: an output needs a type; choose from stdout, file, journald"},
		{"outputs:\n- {type: stdout, format: yaml}", `c.yaml:2:26: format: unknown "yaml"; choose from json, text`},
		{"outputs:\n- type: file", "c.yaml:2:3: an output of type file needs a path; write for example path: /var/log/ebpfguard/alerts.json"},
		{"outputs:\n- type: file\n  path: a.json", `c.yaml:3:9: path "a.json" is not absolute; write the whole path`},
		{"outputs:\n- type: file\n  path: /a\n  keep: -1", `c.yaml:4:9: keep: "-1" is not a number from 0; write a number such as 5`},
		{"outputs:\n- {type: file, path: /a}\n- {type: file, path: /b/../a}", "c.yaml:3:3: outputs[1]: another output has the path /a; choose another path"},
		{"outputs:\n- type: journald\n  filter:\n    verdicts: [deny, refuse]", `c.yaml:4:22: unknown verdict "refuse"; choose from audit, deny, kill`},
		{"outputs:\n- {type: stdout, filter: {operations: [bind]}}", `c.yaml:2:40: unknown operation "bind"; did you mean socket_bind?`},
		{"outputs:\n- {type: stdout, filter: {severities: [hgih]}}", `c.yaml:2:40: unknown severity "hgih"; did you mean high?`},
		{"outputs:\n- {type: stdout, filter: {policies: [A]}}", `c.yaml:2:38: "A" is no policy name; use a-z, 0-9, '-', '.', '_' and '/', and '*' for any characters`},
		{"outputs:\n- {type: stdout, filter: {containers: [a/b]}}", `c.yaml:2:40: "a/b" is no name of a container; write one such as web, web-* or the first 12 characters of an id`},
		{"outputs:\n- {type: stdout, filter: {binaries: [sshd]}}", `c.yaml:2:38: binary: `},

		{"containers: auto", `c.yaml:1:13: containers must be a mapping, not "auto"; write containers: {fail: closed}`},
		{"containers: {fail: shut}", `c.yaml:1:20: fail: unknown "shut"; choose from open, closed`},
		{"containers: {source: auto}", `c.yaml:1:14: unknown field "source" of containers; did you mean sources?`},
		{"containers: {sources: docker}", `c.yaml:1:23: sources must be auto or a list, not "docker"; write for example sources: [{type: docker}]`},
		{"containers: {sources: [docker]}", `c.yaml:1:24: a source of containers must be a mapping, not "docker"; write for example {type: docker}`},
		{"containers: {sources: [{type: dokcer}]}", `c.yaml:1:31: type: unknown "dokcer"; did you mean docker?`},
		{"containers: {sources: [{type: docker, directory: /a}]}", `c.yaml:1:39: unknown field "directory" of a source of type docker; choose from socket, type`},
		{"containers: {sources: [{type: docker, socket: a}]}", `c.yaml:1:47: socket "a" is not absolute; write the whole path`},
		{"containers: {sources: [{socket: /a}]}", `c.yaml:1:24: a source of containers needs a type; choose from nri, docker, podman, oci, systemd-nspawn, lxc`},

		// What is no configuration at all.
		{"group: a\n---\ngroup: b", "c.yaml:3:1: there is a second document; keep one"},
		{"group: \"a", "c.yaml:1:1: not valid YAML: "},
		{"a: b\npins: [", "c.yaml:2:1: not valid YAML: "},
	} {
		_, err := Parse("c.yaml", []byte(tt.text))
		if err == nil || err.Error() != tt.want && !(strings.HasSuffix(tt.want, ": ") && strings.HasPrefix(err.Error(), tt.want)) {
			t.Errorf("%q:\n%v\nwant\n%s", tt.text, err, tt.want)
		}
	}
	// All problems are told at once.
	if _, err := Parse("c.yaml", []byte("a: 1\nb: 2\non_exit: x\n")); err == nil || strings.Count(err.Error(), "c.yaml:") != 3 {
		t.Errorf("error %v", err)
	}
}

func TestFlagsWin(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte("group: a\nsocket: /from/file\noutputs: [{type: journald}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	defaults := Default()
	flags := defaults.Flags()
	command := pflag.NewFlagSet("command", pflag.ContinueOnError)
	command.AddFlagSet(flags)
	if err := command.Parse([]string{
		"--group=b", "--enrich=false", "--on-exit=remove", "--alert-buffer=1MiB", "--log-level=warn", "--debounce=2s",
		"--outputs", "{type: file, path: /x}", "--outputs", "{type: stdout, filter: {verdicts: [kill]}}",
		"--containers", "{fail: closed, sources: [{type: oci, directory: '/a b'}, {type: nri}]}",
	}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // as SIGHUP does
		got, err := Load(path, flags)
		if err != nil {
			t.Fatal(err)
		}
		want := Default()
		want.Socket, want.Group, want.Enrich, want.OnExit = "/from/file", "b", false, Remove
		want.AlertBuffer, want.LogLevel, want.Debounce = 1<<20, slog.LevelWarn, 2*time.Second
		want.Containers = Containers{Fail: FailClosed, Sources: []containers.Spec{{Type: "oci", Place: "/a b"}, {Type: "nri"}}}
		want.Outputs = []setup.Spec{{Settings: &file.Settings{Path: "/x", Format: sink.FormatJSON}}, {Settings: stdout.Kind.New(), Filter: sink.Filter{Verdicts: []string{"kill"}}}}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
	if _, err := Load(path+".none", nil); err == nil || !strings.Contains(err.Error(), "check the path") {
		t.Errorf("a file that is not there: %v", err)
	}
	for _, wrong := range [][]string{{"--outputs", "{type: fil}"}, {"--outputs", ""}, {"--outputs", "none", "--outputs", "{type: stdout}"}, {"--containers", "auto"}, {"--containers", ""}, {"--containers", "{sources: [{type: x}]}"}, {"--log-level", "loud"}} {
		c := Default()
		if err := c.Flags().Parse(wrong); err == nil {
			t.Errorf("%v is taken", wrong)
		}
	}
}

// TestExample holds the commented example against the reader: with every comment sign
// removed from its keys it must still be one, and what is commented out the default.
func TestExample(t *testing.T) {
	const path = "../../deploy/config.yaml"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(path, data)
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Outputs = []setup.Spec{{Settings: &journald.Settings{}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	all := regexp.MustCompile(`(?m)^#([a-z_]+:|- |  )`).ReplaceAll(data, []byte("$1"))
	got, err = Parse(path, all)
	if err != nil {
		t.Fatalf("%v\n%s", err, all)
	}
	want.Metrics = "127.0.0.1:9477"
	want.Outputs = append(want.Outputs, setup.Spec{Settings: &file.Settings{Path: "/var/log/ebpfguard/alerts.json", Format: sink.FormatJSON, MaxBytes: 100 << 20, Keep: 5}, Filter: sink.Filter{
		Operations: []string{"socket_connect"}, Policies: []string{"web-*"}, Verdicts: []string{"deny", "kill"},
		Severities: []string{"high", "critical"}, Binaries: []string{"/usr/sbin/"},
		Containers: []string{"web", "db-*"},
	}})
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	// Every key is there, and in the table of the documentation.
	docs, err := os.ReadFile("../../docs/daemon.md")
	if err != nil {
		t.Fatal(err)
	}
	want.Flags().VisitAll(func(f *pflag.Flag) {
		if key := keyOf(f.Name); !regexp.MustCompile(`(?m)^` + key + `:`).Match(all) {
			t.Errorf("%s lacks %s", path, key)
		} else if !strings.Contains(string(docs), "| `"+key+"` |") {
			t.Errorf("docs/daemon.md lacks %s", key)
		}
	})
}
