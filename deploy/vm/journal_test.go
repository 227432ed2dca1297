//go:build vm_deb

package vm

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// journal looks for the denial of the tour among what journald has of the daemon, with the fields of docs/alerts.md.
func journal(t *testing.T) {
	out := run(t, "journalctl", "--no-pager", "-o", "json", "EBPFGUARD_VERDICT=deny", "EBPFGUARD_OBJECT_PATH=/etc/ssl/private/site.key")
	line, _, _ := strings.Cut(out, "\n")
	entry := make(map[string]any)
	if err := json.Unmarshal([]byte(line), &entry); err != nil {
		t.Fatalf("the journal's entry: %v\n%s", err, out)
	}
	t.Log(line)
	for name, want := range map[string]string{
		"PRIORITY":                "3", // the severity is high
		"SYSLOG_IDENTIFIER":       "ebpfguard",
		"_SYSTEMD_UNIT":           unit, // journald's own finding: who sent it
		"_EXE":                    "/usr/bin/ebpfguard",
		"EBPFGUARD_OPERATION":     "file_open",
		"EBPFGUARD_HOOK":          "file_open",
		"EBPFGUARD_VERDICT":       "deny",
		"EBPFGUARD_UNDECIDED":     "false",
		"EBPFGUARD_POLICY":        "tls-keys",
		"EBPFGUARD_RULE":          "0",
		"EBPFGUARD_RULE_MESSAGE":  "keys are for the web server",
		"EBPFGUARD_SEVERITY":      "high",
		"EBPFGUARD_COUNT":         "1",
		"EBPFGUARD_UID":           "0",
		"EBPFGUARD_GID":           "0",
		"EBPFGUARD_USER":          "root",
		"EBPFGUARD_COMM":          "cat",
		"EBPFGUARD_BINARY":        "/usr/bin/cat",
		"EBPFGUARD_PARENT":        "/usr/bin/sudo",
		"EBPFGUARD_UNIT":          "vmtest.service",
		"EBPFGUARD_OBJECT_PATH":   "/etc/ssl/private/site.key",
		"EBPFGUARD_OBJECT_ACCESS": "read",
	} {
		if entry[name] != want {
			t.Errorf("%s is %v, want %q", name, entry[name], want)
		}
	}
	if message, _ := entry["MESSAGE"].(string); !strings.Contains(message, "deny file_open read /etc/ssl/private/site.key by /usr/bin/cat (pid ") {
		t.Errorf("the message is %q", entry["MESSAGE"])
	}

	var alert struct {
		ID       string
		Sequence json.Number
		Process  struct {
			PID  json.Number
			Args []string
		}
	}
	text, _ := entry["EBPFGUARD_ALERT"].(string)
	if err := json.Unmarshal([]byte(text), &alert); err != nil {
		t.Fatalf("EBPFGUARD_ALERT: %v\n%v", err, entry["EBPFGUARD_ALERT"])
	}
	for name, want := range map[string]string{
		"EBPFGUARD_ID": alert.ID, "EBPFGUARD_SEQUENCE": alert.Sequence.String(), "EBPFGUARD_PID": alert.Process.PID.String(),
	} {
		if entry[name] != want || want == "" {
			t.Errorf("%s is %v, and %q in EBPFGUARD_ALERT", name, entry[name], want)
		}
	}
	if want := []string{"cat", "/etc/ssl/private/site.key"}; !slices.Equal(alert.Process.Args, want) {
		t.Errorf("the arguments are %q, want %q", alert.Process.Args, want)
	}
	documented(t, entry)
}

// documented compares the names of the fields with those that docs/alerts.md lists.
func documented(t *testing.T, entry map[string]any) {
	t.Helper()
	page, err := os.ReadFile("/src/docs/alerts.md")
	if err != nil {
		t.Fatalf("read the page: %v; `make test-deb` adds it", err)
	}
	// The page's lines are wrapped anywhere.
	_, list, _ := strings.Cut(strings.Join(strings.Fields(string(page)), " "), "all with `EBPFGUARD_` before them:")
	list, _, found := strings.Cut(list, "and `OBJECT_` with each key")
	if !found {
		t.Fatal("docs/alerts.md has no list of the journal's fields")
	}
	fields := []string{"EBPFGUARD_ALERT", "EBPFGUARD_OBJECT_PATH", "EBPFGUARD_OBJECT_ACCESS"}
	for _, name := range regexp.MustCompile("`([A-Z_]+)`").FindAllStringSubmatch(list, -1) {
		fields = append(fields, "EBPFGUARD_"+name[1])
	}
	// The rule of the tour has no tags, and the process is in no container.
	absent := []string{
		"EBPFGUARD_TAG", "EBPFGUARD_CONTAINER_ID", "EBPFGUARD_CONTAINER", "EBPFGUARD_IMAGE", "EBPFGUARD_POD_NAMESPACE", "EBPFGUARD_POD",
	}
	for _, name := range fields {
		if _, has := entry[name]; has == slices.Contains(absent, name) {
			t.Errorf("docs/alerts.md has %s; that the entry has it: %v", name, has)
		}
	}
	for name := range entry {
		if strings.HasPrefix(name, "EBPFGUARD_") && !slices.Contains(fields, name) {
			t.Errorf("docs/alerts.md does not have %s", name)
		}
	}
}
