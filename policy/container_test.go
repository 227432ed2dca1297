package policy_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/ebpfguard/ebpfguard/policy"
)

const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

var web = policy.Container{
	ID: "4f2a91c03b7d5e6f", Name: "web-1", Image: "docker.io/library/nginx:1.27", ImageDigest: digest,
	Labels: map[string]string{"app": "web", "tier": "front/end", "empty": ""}, Runtime: "docker",
}

func TestContainerSelector(t *testing.T) {
	acme := policy.Container{ID: "aaaaaaaaaaaaaaaa", Name: "api", Image: "ghcr.io:5000/acme/tools/api@" + digest, Runtime: "containerd"}
	bare := policy.Container{ID: "bbbbbbbbbbbbbbbb", Image: "localhost/nginx"}
	for text, want := range map[string]string{
		"{}":                                                              "web acme bare",
		"{names: [web-1]}":                                                "web",
		"{names: ['web-*', x]}":                                           "web",
		"{names: [web]}":                                                  "",
		"{images: [nginx]}":                                               "web",
		"{images: ['nginx:1.27']}":                                        "web",
		"{images: ['nginx:1.2*']}":                                        "web",
		"{images: ['nginx:latest']}":                                      "",
		"{images: [library/nginx]}":                                       "web",
		"{images: [docker.io/library/nginx]}":                             "web",
		"{images: ['docker.io/**']}":                                      "web",
		"{images: [docker.io/nginx]}":                                     "",
		"{images: ['nginx@" + digest + "']}":                              "web",
		"{images: ['nginx@sha256:ffff']}":                                 "",
		"{images: ['**@" + digest + "']}":                                 "web acme",
		"{images: ['ghcr.io:5000/acme/**']}":                              "acme",
		"{images: ['ghcr.io:5000/acme/*']}":                               "",
		"{images: ['**/api']}":                                            "acme",
		"{images: ['ghcr.io:5000/acme/tools/api:latest']}":                "",
		"{images: [localhost/nginx]}":                                     "bare",
		"{images: ['localhost/nginx:latest']}":                            "bare",
		"{labels: {app: web}}":                                            "web",
		"{labels: {app: [api, 'w*']}}":                                    "web",
		"{labels: {app: web, tier: 'front*'}}":                            "web",
		"{labels: {app: web, tier: back}}":                                "",
		"{labels: {empty: ''}}":                                           "web",
		"{labels: {empty: '*'}}":                                          "web",
		"{labels: {none: '*'}}":                                           "",
		"{ids: [4f2a91c03b7d]}":                                           "web",
		"{ids: [4f2a91c03b7e]}":                                           "",
		"{runtimes: [docker, podman]}":                                    "web",
		"{names: [web-1], runtimes: [podman]}":                            "",
		"{names: [web-1], images: [nginx], runtimes: [docker]}":           "web",
		"{names: ['*'], labels: {app: '*'}, ids: [4f2a91c03b7d5e6f]}":     "web",
		"{images: ['*']}":                                                 "web",
		"{images: ['**']}":                                                "web acme bare",
		"{runtimes: [containerd], images: ['**/tools/*@" + digest + "']}": "acme",
	} {
		set := parseSubject(t, "{containers: ["+text+"]}")
		var got []string
		for _, c := range []struct {
			name string
			policy.Container
		}{{"web", web}, {"acme", acme}, {"bare", bare}} {
			if set.Containers[0].Selects(c.Container) {
				got = append(got, c.name)
			}
		}
		if got := strings.Join(got, " "); got != want {
			t.Errorf("%s selects %q, want %q", text, got, want)
		}
		if again := parseSubject(t, set.String()); again.String() != set.String() {
			t.Errorf("%s is written as %s, and read as %s", text, set, again)
		}
	}
}

func parseSubject(t *testing.T, text string) policy.Subject {
	t.Helper()
	set, err := policy.Parse("p.yaml", []byte("apiVersion: ebpfguard.io/v1alpha1\nkind: Policy\nmetadata: {name: p}\nspec:\n  subject: "+text+
		"\n  rules: [{operation: socket_bind, deny: all}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	return set[0].Subject
}

// TestContainerSubject compares who is selected: on the host, in a container, in two, in one of which
// nothing is known, and who could not be identified at all.
func TestContainerSubject(t *testing.T) {
	other := policy.Container{ID: "cccccccccccccccc", Name: "other"}
	pod := policy.Container{ID: "dddddddddddddddd", Name: "main", Image: "nginx:1.27", Pod: &policy.Pod{
		Namespace: "shop", Name: "web-0", Labels: map[string]string{"app": "web"}, ServiceAccount: "front", Owners: []string{"ReplicaSet/web-7f", "Deployment/web"},
	}}
	partial := policy.Container{ID: "eeeeeeeeeeeeeeee", Name: "main", Pod: &policy.Pod{Namespace: "shop", Name: "job-0", Partial: true}}
	processes := map[string]policy.Process{
		"host": {}, "web": {Containers: []policy.Container{web}}, "other": {Containers: []policy.Container{other}},
		"left web": {Containers: []policy.Container{other, web}}, "unidentified": {Unidentified: true}, "unknown": {Unknown: true},
		"pod": {Containers: []policy.Container{pod}}, "partial": {Containers: []policy.Container{partial}},
	}
	// What is not certain of whom nothing, or not everything, is known.
	rest := func(of map[string]string) map[string]string {
		for _, name := range []string{"unidentified", "unknown", "partial"} {
			if of[name] == "" {
				of[name] = "maybe"
			}
		}
		return of
	}
	for text, want := range map[string]map[string]string{
		"{containers: [{names: [web-1]}]}":                              rest(map[string]string{"web": "yes", "left web": "yes"}),
		"{containers: [{}]}":                                            rest(map[string]string{"web": "yes", "other": "yes", "left web": "yes", "unidentified": "yes", "pod": "yes", "partial": "yes"}),
		"{host: true}":                                                  {"host": "yes", "unknown": "maybe"},
		"{containers: [{names: [x]}, {names: [other]}]}":                rest(map[string]string{"other": "yes", "left web": "yes"}),
		"{pods: [{}]}":                                                  rest(map[string]string{"pod": "yes"}),
		"{pods: [{namespaces: [shop]}]}":                                rest(map[string]string{"pod": "yes"}),
		"{pods: [{namespaces: ['sh*'], names: ['web-?']}]}":             rest(map[string]string{"pod": "yes"}),
		"{pods: [{namespaces: [bank]}]}":                                rest(map[string]string{}),
		"{pods: [{labels: {app: [web, api]}}]}":                         rest(map[string]string{"pod": "yes"}),
		"{pods: [{containers: [init]}]}":                                rest(map[string]string{}),
		"{pods: [{containers: [main], images: [nginx]}]}":               rest(map[string]string{"pod": "yes"}),
		"{pods: [{serviceAccounts: [front]}]}":                          rest(map[string]string{"pod": "yes"}),
		"{pods: [{serviceAccounts: [back]}]}":                           rest(map[string]string{}),
		"{pods: [{owners: [Deployment/web]}]}":                          rest(map[string]string{"pod": "yes"}),
		"{pods: [{owners: ['Deployment/*', Job/x]}]}":                   rest(map[string]string{"pod": "yes"}),
		"{pods: [{owners: [StatefulSet/web]}]}":                         rest(map[string]string{}),
		"{containers: [{names: [side]}], pods: [{namespaces: [shop]}]}": rest(map[string]string{}),
		"{containers: [{names: [main]}], pods: [{namespaces: [shop]}]}": rest(map[string]string{"pod": "yes"}),
	} {
		s := parseSubject(t, text)
		for name, p := range processes {
			rank, uncertain, ok := s.Match(p)
			got := ""
			switch {
			case ok && uncertain:
				got = "maybe"
			case ok:
				got = "yes"
			}
			if got != want[name] {
				t.Errorf("%s selects %s: %q, want %q", text, name, got, want[name])
			}
			if ok && rank != policy.SubjectEveryone+policy.SubjectContainer {
				t.Errorf("%s selects %s with rank %d", text, name, rank)
			}
		}
	}
}

// TestUnidentifiedContainer sees rule 6: a denial that may concern an unidentified container counts, an
// exception that may does not.
func TestUnidentifiedContainer(t *testing.T) {
	set := []policy.Policy{
		{Name: "web", Subject: policy.Subject{Containers: []policy.ContainerSelector{{Names: []string{"web-1"}}}}, Rules: []policy.Rule{
			{Operation: policy.SocketBind, Deny: []policy.Pattern{policy.SocketPattern{Ports: []policy.PortRange{{First: 22, Last: 22}}}}},
			{Operation: policy.SocketBind, Allow: []policy.Pattern{policy.SocketPattern{Ports: []policy.PortRange{{First: 80, Last: 80}}}}},
		}},
		{Name: "all", Subject: policy.Subject{Everyone: true}, Rules: []policy.Rule{
			{Operation: policy.SocketBind, Deny: []policy.Pattern{policy.SocketPattern{Ports: []policy.PortRange{{First: 80, Last: 80}}}}},
		}},
	}
	for name, c := range map[string]struct {
		process    policy.Process
		on22, on80 policy.Verdict
	}{
		"host":         {policy.Process{}, policy.Allow, policy.Deny},
		"web":          {policy.Process{Containers: []policy.Container{web}}, policy.Deny, policy.Allow},
		"unidentified": {policy.Process{Unidentified: true}, policy.Deny, policy.Deny},
	} {
		for port, want := range map[uint16]policy.Verdict{22: c.on22, 80: c.on80} {
			got := policy.Decide(set, policy.Request{Process: c.process, Operation: policy.SocketBind,
				Object: policy.Socket{Address: netip.IPv6Loopback(), Port: port, Protocol: policy.TCP}})
			if got.Verdict != want {
				t.Errorf("%s binds port %d: %v, want %v", name, port, got.Verdict, want)
			}
			if undecided := name == "unidentified"; got.Undecided != undecided {
				t.Errorf("%s binds port %d: undecided %v", name, port, got.Undecided)
			}
		}
	}
}
