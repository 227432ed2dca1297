package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/ebpfguard/ebpfguard"
	"github.com/ebpfguard/ebpfguard/internal/terminal"
)

// nodeAlert is an alert of a node.
type nodeAlert struct {
	node     string
	line     []byte    // its JSON, without a line break
	Time     time.Time `json:"time"`
	BootID   string    `json:"boot_id"`
	Sequence uint64    `json:"sequence"`
}

func (a nodeAlert) compare(b nodeAlert) int { return a.Time.Compare(b.Time) }

// parseAlert reads a line that an agent's command printed.
func parseAlert(node string, line []byte) (nodeAlert, error) {
	a := nodeAlert{node: node}
	// The agent's machine may be the attacker's: what is no plain JSON does not get to the terminal.
	var b bytes.Buffer
	if err := json.Compact(&b, line); err != nil {
		return a, err
	}
	a.line = b.Bytes()
	return a, json.Unmarshal(a.line, &a)
}

// parseAlerts reads the lines of an agent's command.
func parseAlerts(node, text string, problem func(string)) []nodeAlert {
	var all []nodeAlert
	unreadable := 0
	for line := range strings.Lines(text) {
		if a, err := parseAlert(node, []byte(line)); err == nil {
			all = append(all, a)
		} else {
			unreadable++
		}
	}
	if unreadable > 0 {
		problem(fmt.Sprintf("node %s: %s that cannot be read", node, count(unreadable, "line", "lines")))
	}
	return all
}

// text returns the alert for people.
func (a nodeAlert) text() string {
	alert, err := ebpfguard.UnmarshalAlert(a.line)
	if err != nil { // of a later version
		return string(terminal.EscapeJSON(a.line))
	}
	return alert.String()
}

// alertMerge prints alerts of several nodes.
type alertMerge struct {
	cmd    *cobra.Command
	format output
	colour bool

	mu    sync.Mutex
	width int // of the longest name of a node so far
}

// print prints alerts.
func (m *alertMerge) print(alerts ...nodeAlert) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range alerts {
		m.width = max(m.width, len(a.node))
	}
	w := m.cmd.OutOrStdout()
	for _, a := range alerts {
		if m.format == outputJSON {
			node, err := json.Marshal(a.node)
			if err != nil {
				return err
			}
			line := fmt.Sprintf(`{"node":%s,%s`, node, strings.TrimPrefix(string(a.line), "{"))
			if _, err := fmt.Fprintf(w, "%s\n", terminal.EscapeJSON([]byte(line))); err != nil {
				return err
			}
			continue
		}
		text := printable(a.text())
		if m.colour {
			text = colourVerdict(text)
		}
		if _, err := fmt.Fprintf(w, "%-*s  %s\n", m.width, printable(a.node), text); err != nil {
			return err
		}
	}
	return nil
}

// problem says on the standard error what is missing.
func (m *alertMerge) problem(text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fmt.Fprintln(m.cmd.ErrOrStderr(), "ebpfguard: "+printable(text))
}

// tell says what an agent's command wrote to its standard error, such as how many alerts were lost.
func (m *alertMerge) tell(node, text string) {
	for line := range strings.Lines(text) {
		m.problem("node " + node + ": " + strings.TrimSpace(line))
	}
}
