package coverage

import (
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestWays(t *testing.T) {
	kebab := regexp.MustCompile(`^[a-z0-9]+([-.][a-z0-9]+)*$`)
	seen, used := make(map[string]bool), make(map[string]bool)
	descriptions := make(map[string]string)
	for _, w := range Ways() {
		if seen[w.Row()] {
			t.Errorf("%s: there are two", w.Row())
		}
		seen[w.Row()] = true
		if !kebab.MatchString(w.ID) || w.Description == "" || strings.ContainsAny(w.Description, "\n") || w.Do == nil {
			t.Errorf("%s: incomplete: %+v", w.Row(), w)
		}
		if same, ok := descriptions[string(w.Operation)+w.Description]; ok {
			t.Errorf("%s: described like %s", w.Row(), same)
		}
		descriptions[string(w.Operation)+w.Description] = w.ID
		if groupOf(w) < 0 {
			t.Errorf("%s: no policy has the object %q", w.Row(), w.Object)
		}
		used[string(w.Operation)+"/"+w.Object] = true
		for _, need := range w.Needs {
			if probes[need] == nil {
				t.Errorf("%s: nothing probes for %s", w.Row(), need)
			}
		}
		for kernel, reason := range w.NotCovered {
			if reason == "" {
				t.Errorf("%s: not covered on %s, and no reason given", w.Row(), kernel)
			}
		}
	}
	// The issue asks for more than 150.
	if len(seen) < 600 {
		t.Errorf("only %d ways", len(seen))
	}
	for _, p := range policies {
		for _, object := range p.objects {
			if !used[string(p.operation)+"/"+object] {
				t.Errorf("no way tries the rule %s/%s", p.operation, object)
			}
		}
	}
}

func TestPolicyTexts(t *testing.T) {
	for i, p := range policies {
		text := expand(p.text, "/run/coverage/actor", func(object string) []string {
			return []string{"/run/coverage/a-" + object, "/run/coverage/b-" + object}
		})
		if strings.Contains(text, "EACH") || strings.Contains(text, "ACTOR") || strings.Contains(text, "nonexistent") || strings.Contains(text, "\t") {
			t.Errorf("policy %d is not expanded:\n%s", i, text)
		}
		if !strings.Contains(text, "subject: {binaries: [/run/coverage/actor], descendants: true}") || !strings.Contains(text, "\n  - operation: "+string(p.operation)+"\n") {
			t.Errorf("policy %d:\n%s", i, text)
		}
	}
	empty := expand(policies[0].text, "/a", func(string) []string { return nil })
	if !strings.Contains(empty, "paths: [/nonexistent/tree/tree/, /nonexistent/dir/tree/]") {
		t.Errorf("without ways:\n%s", empty)
	}
}

func TestJudgement(t *testing.T) {
	documented := Way{NotCovered: map[string]string{"5.10": "why"}}
	everywhere := Way{NotCovered: map[string]string{"*": "because"}}
	for name, c := range map[string]struct {
		way    Way
		kernel string
		rep    report
		policy bool
		want   Outcome
		why    string
	}{
		"control":              {Way{}, "6.1", report{}, false, Control, ""},
		"control fails":        {Way{}, "6.1", report{Errno: unix.EPERM, Text: "x"}, false, Failed, "without a policy: EPERM: x"},
		"refused":              {Way{}, "6.1", report{Errno: unix.EPERM}, true, Refused, ""},
		"refused earlier":      {Way{}, "6.1", report{Errno: unix.EPERM, Step: true, Text: "mount"}, true, Refused, "at an earlier step: mount"},
		"passed":               {Way{}, "6.1", report{}, true, Passed, "the effect was reached"},
		"known":                {documented, "5.10", report{}, true, NotCovered, "why"},
		"known elsewhere":      {documented, "6.1", report{}, true, Passed, "the effect was reached"},
		"known everywhere":     {everywhere, "6.1", report{}, true, NotCovered, "because"},
		"refused nevertheless": {everywhere, "6.1", report{Errno: unix.EPERM}, true, Refused, ""},
		"another error":        {Way{}, "6.1", report{Errno: unix.EINVAL, Text: "x"}, true, Failed, "EINVAL: x"},
	} {
		if got, why := judgement(c.way, c.kernel, c.rep, c.policy); got != c.want || why != c.why {
			t.Errorf("%s: %s %q, want %s %q", name, got, why, c.want, c.why)
		}
	}
}

// TestPlaceholders finds a policy's rule about an object that its ways cannot have.
func TestPlaceholders(t *testing.T) {
	for _, p := range policies {
		for _, match := range placeholder.FindAllStringSubmatch(p.text, -1) {
			found := false
			for _, object := range p.objects {
				found = found || object == match[1]
			}
			if !found {
				t.Errorf("%s: EACH:%s is no object of its policy", p.operation, match[1])
			}
		}
	}
}
