package v1alpha1

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestWords(t *testing.T) {
	rules := []Rule{{Operation: "file_open"}, {Operation: "socket_bind"}, {Operation: "file_open"}}
	for want, s := range map[string]Subject{
		"all pods":                             {},
		"/bin/a,/bin/b and descendants":        {Binaries: []string{"/bin/a", "/bin/b"}, Descendants: true},
		"users 0,1000-1999":                    {Users: []Number{"0", "1000-1999"}},
		"all containers":                       {Containers: []ContainerSelector{{}}},
		"images nginx; app=web|shop; pods a,b": {Containers: []ContainerSelector{{Images: []string{"nginx"}, Labels: map[string]LabelValues{"app": {"web", "shop"}}}}, Pods: []PodSelector{{Names: []string{"a", "b"}}}},
		"tier!=*; Deployment/web":              {Pods: []PodSelector{{NotLabels: map[string]LabelValues{"tier": {"*"}}, Owners: []string{"Deployment/web"}}}},
		"/" + strings.Repeat("ä", 28) + "…":    {Binaries: []string{"/" + strings.Repeat("ä", 99)}},
	} {
		p := Policy{Spec: PolicySpec{Subject: s, Rules: rules}}
		if operations, subject := p.Words(); operations != "file_open,socket_bind" || subject != want {
			t.Errorf("got %s and %s, want %s", operations, subject, want)
		}
	}
	for want, spec := range map[string]ClusterPolicySpec{
		"everyone": {},
		"host":     {PolicySpec: PolicySpec{Subject: Subject{Host: true}}},
		"users 0; namespaces team=web; all pods": {
			PolicySpec:        PolicySpec{Subject: Subject{Users: []Number{"0"}}},
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "web"}}, PodSelector: &metav1.LabelSelector{},
		},
	} {
		p := ClusterPolicy{Spec: spec}
		if _, subject := p.Words(); subject != want {
			t.Errorf("got %s, want %s", subject, want)
		}
	}
}

func TestNumber(t *testing.T) {
	for text, want := range map[string]string{`22`: "22", `"22-23"`: "22-23", `4294967294`: "4294967294", `"alice"`: "alice", `1.5`: "1.5", ` -1`: "-1", `null`: "null", `["a"]`: `["a"]`} {
		var n Number
		if err := n.UnmarshalJSON([]byte(text)); err != nil || string(n) != want {
			t.Errorf("%s is %q, %v", text, n, err)
		}
	}
	for n, want := range map[Number]string{"22": `22`, "22-23": `"22-23"`, "alice": `"alice"`, "022": `"022"`, "-1": `-1`, "": `""`} {
		if got, err := n.MarshalJSON(); err != nil || string(got) != want {
			t.Errorf("%q is written %s, %v; want %s", n, got, err, want)
		}
	}
}
