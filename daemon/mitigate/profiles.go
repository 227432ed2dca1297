package mitigate

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/internal/strictyaml"
	"github.com/ebpfguard/ebpfguard/policy"
)

// profiles are what mitigations forbid, by what they are called.
var profiles = []struct {
	profile pb.MitigateRequest_Profile
	name    string
	rules   []policy.Rule
}{
	{pb.MitigateRequest_PROFILE_NO_NETWORK, "no-network", []policy.Rule{denyAndRevoke(policy.SocketBind), denyAndRevoke(policy.SocketConnect)}},
	{pb.MitigateRequest_PROFILE_NO_NEW_CONNECTIONS, "no-new-connections", []policy.Rule{deny(policy.SocketBind), deny(policy.SocketConnect)}},
	{pb.MitigateRequest_PROFILE_READ_ONLY, "read-only", []policy.Rule{{
		Operation: policy.FileOpen, Deny: []policy.Pattern{policy.FilePattern{Access: policy.Write}}, Verdict: policy.Deny, Revoke: true,
	}}},
	{pb.MitigateRequest_PROFILE_NO_EXEC, "no-exec", []policy.Rule{deny(policy.BprmCheckSecurity)}},
	{pb.MitigateRequest_PROFILE_KILL, "kill", killAll()},
}

// otherProfile is the name of a mitigation with rules of its own.
const otherProfile = "policy"

func deny(o policy.Operation) policy.Rule {
	return policy.Rule{Operation: o, Deny: []policy.Pattern{policy.Everything(o)}, Verdict: policy.Deny}
}

// denyAndRevoke denies what is open already as well.
func denyAndRevoke(o policy.Operation) policy.Rule {
	r := deny(o)
	r.Revoke = true
	return r
}

// killAll leaves out task_fix_setuid, which some kernels cannot enforce fully: they would
// refuse the whole. A process that lives does something else that is judged, too.
func killAll() []policy.Rule {
	var rules []policy.Rule
	for _, o := range policy.Operations() {
		if o == policy.TaskFixSetuid {
			continue
		}
		r := deny(o)
		r.Verdict = policy.Kill
		r.Revoke = o.Revokes() // whatever it has open, it is killed when it uses it
		rules = append(rules, r)
	}
	return rules
}

// profileRules returns what a profile forbids, and its name.
func profileRules(profile pb.MitigateRequest_Profile) ([]policy.Rule, string, error) {
	for _, p := range profiles {
		if p.profile == profile {
			return slices.Clone(p.rules), p.name, nil
		}
	}
	return nil, "", fmt.Errorf("unknown profile %d; choose from no-network, no-new-connections, read-only, no-exec and kill, or send a policy", profile)
}

// ProfileOf returns the name of the profile that a mitigation is of.
func ProfileOf(m policy.Policy) string {
	rules := slices.Clone(m.WithoutSource().Rules)
	for i := range rules {
		rules[i].Message = ""
	}
	for _, p := range profiles {
		if reflect.DeepEqual(rules, p.rules) {
			return p.name
		}
	}
	return otherProfile
}

// ownRules returns the rules of a policy without a subject, which it gets here so that
// the strict reader takes it.
func ownRules(name, text string) ([]policy.Rule, error) {
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(text), &document); err == nil && len(document.Content) > 0 {
		if spec := field(document.Content[0], "spec"); spec != nil && spec.Kind == yaml.MappingNode {
			if subject := field(spec, "subject"); subject != nil {
				return nil, fmt.Errorf("%s:%d:%d: the policy has a subject; leave it out, because the request names the subject", name, subject.Line, subject.Column)
			}
			// With the subject all else may be in another place, so what is wrong is told before.
			if err := withoutSubject(name, text); err != nil {
				return nil, err
			}
			spec.Content = append(spec.Content,
				&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: "subject"}, &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Style: yaml.FlowStyle})
			if data, err := yaml.Marshal(&document); err == nil {
				text = string(data)
			}
		}
	}
	set, err := policy.Parse(name, []byte(text))
	switch {
	case err != nil:
		return nil, err
	case len(set) != 1:
		return nil, fmt.Errorf("there are %d policies; send one", len(set))
	case set[0].Until != 0:
		return nil, fmt.Errorf("%s: the policy has until; leave it out, and set the ttl of the request", set[0].Source)
	case set[0].Mode == policy.ModeAudit:
		return nil, fmt.Errorf("%s: the policy has mode audit; leave it out and set audit in the request", set[0].Source)
	}
	return set[0].WithoutSource().Rules, nil
}

// withoutSubject returns what is wrong with a policy but that it has no subject.
func withoutSubject(name, text string) error {
	_, err := policy.Parse(name, []byte(text))
	return errors.Join(slices.DeleteFunc(strictyaml.Unjoin(err), func(err error) bool {
		return strings.Contains(err.Error(), "subject is missing; ")
	})...)
}

func field(mapping *yaml.Node, name string) *yaml.Node {
	if mapping.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == name {
			return mapping.Content[i+1]
		}
	}
	return nil
}
