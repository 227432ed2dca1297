// Package kubernetes makes the daemon the agent of a cluster's node: it enforces the Policies and ClusterPolicies of the
// API server in the node's pods, and tells it which are in force.
package kubernetes

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/ebpfguard/ebpfguard/api/kubernetes/v1alpha1"
	"github.com/ebpfguard/ebpfguard/policy"
)

// Names of the policies that come from the cluster begin with these. No file's policy can have such a name.
const (
	policyPrefix  = "policy/"
	clusterPrefix = "clusterpolicy/"
)

// IsName reports whether a name in the set is that of a policy of the cluster.
func IsName(name string) bool {
	return strings.HasPrefix(name, policyPrefix) || strings.HasPrefix(name, clusterPrefix)
}

// namespacedName is the name in the set of a namespace's policy.
func namespacedName(namespace, name string) string { return policyPrefix + namespace + "/" + name }

// clusterName is the name in the set of a cluster's policy.
func clusterName(name string) string { return clusterPrefix + name }

// Convert returns a namespace's policy as the node enforces it: about the pods of the namespace only, whatever its
// subject says, and delegated: its exceptions lift nothing that the cluster's policies deny, unless these are overridable.
// What it cannot say is an error that tells what to write instead.
func Convert(p *v1alpha1.Policy) (policy.Policy, error) {
	result, err := parse(namespacedName(p.Namespace, p.Name), "Policy "+p.Namespace+"/"+p.Name, p.Spec)
	if err != nil {
		return policy.Policy{}, err
	}
	s := &result.Subject
	var errs []error
	if s.Host {
		errs = append(errs, errors.New("a Policy is about the pods of its namespace; write a ClusterPolicy for hosts"))
	}
	if len(s.Processes) > 0 {
		errs = append(errs, errors.New("a Policy cannot name processes; select pods"))
	}
	if len(s.Cgroups) > 0 {
		errs = append(errs, errors.New("a Policy cannot name control groups, which are the node's; select pods"))
	}
	if len(s.Pods) == 0 {
		s.Pods = []policy.PodSelector{{}}
	}
	for i := range s.Pods {
		pods := &s.Pods[i]
		if len(pods.Namespaces) > 0 && !slices.ContainsFunc(pods.Namespaces, func(n string) bool { return policy.MatchComponent(n, p.Namespace) }) {
			errs = append(errs, fmt.Errorf("pods: namespaces %q are not this one, %q; leave the field out, or write a ClusterPolicy", pods.Namespaces, p.Namespace))
		}
		pods.Namespaces = []string{p.Namespace}
	}
	s.Everyone = false
	// A container that nobody can tell anything of may be another namespace's.
	result.Delegated, s.Identified = true, true
	return result, errors.Join(errs...)
}

// ConvertCluster returns a cluster's policy as a node enforces it, given the names of the namespaces that there are with
// their labels. It reports false where the policy concerns nothing now: no namespace that it selects is there, or it is
// for other nodes.
func ConvertCluster(p *v1alpha1.ClusterPolicy, node labels.Set, namespaces map[string]labels.Set) (_ policy.Policy, concerned bool, err error) {
	result, err := parse(clusterName(p.Name), "ClusterPolicy "+p.Name, p.Spec.PolicySpec)
	if err != nil {
		return policy.Policy{}, false, err
	}
	if concerned, err = selects(p.Spec.NodeSelector, node); err != nil {
		return policy.Policy{}, false, fmt.Errorf("nodeSelector: %w", err)
	}
	result.Delegated = p.Spec.Overridable
	s := &result.Subject
	if p.Spec.NamespaceSelector == nil && p.Spec.PodSelector == nil {
		return result, concerned, nil
	}
	if s.Host {
		return policy.Policy{}, false, errors.New("the subject is the host, which is in no namespace and no pod; leave out namespaceSelector and podSelector")
	}
	if len(s.Pods) == 0 {
		s.Pods = []policy.PodSelector{{}}
		s.Everyone = false
	}
	if p.Spec.PodSelector != nil {
		with, without, err := podLabels(p.Spec.PodSelector)
		if err != nil {
			return policy.Policy{}, false, fmt.Errorf("podSelector: %w", err)
		}
		s.Pods = narrow(s.Pods, with, without)
		concerned = concerned && len(s.Pods) > 0
	}
	if p.Spec.NamespaceSelector != nil {
		selected := []string{}
		for name, of := range namespaces {
			ok, err := selects(p.Spec.NamespaceSelector, of)
			if err != nil {
				return policy.Policy{}, false, fmt.Errorf("namespaceSelector: %w", err)
			}
			if ok {
				selected = append(selected, name)
			}
		}
		slices.Sort(selected)
		s.Pods = inNamespaces(s.Pods, selected)
	}
	return result, concerned, nil
}

// inNamespaces returns the selectors for pods of some namespaces, and of those that are too new to have been looked at: so a
// policy that selects none now is there for the pods of the first.
func inNamespaces(pods []policy.PodSelector, namespaces []string) []policy.PodSelector {
	var result []policy.PodSelector
	for _, s := range pods {
		both := slices.DeleteFunc(slices.Clone(namespaces), func(n string) bool {
			return len(s.Namespaces) > 0 && !slices.ContainsFunc(s.Namespaces, func(p string) bool { return policy.MatchComponent(p, n) })
		})
		s.Namespaces = append(both, policy.NewNamespaces)
		result = append(result, s)
	}
	return result
}

// selects reports whether a selector selects what has the labels; none selects all.
func selects(s *metav1.LabelSelector, of labels.Set) (bool, error) {
	if s == nil {
		return true, nil
	}
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return false, err
	}
	return selector.Matches(of), nil
}

// podLabels returns a selector as labels that a pod must have, and must not have. The guard asks for them when a
// container starts, before the API server has told of the pod.
func podLabels(s *metav1.LabelSelector) (with, without []policy.LabelSelector, err error) {
	if _, err := metav1.LabelSelectorAsSelector(s); err != nil {
		return nil, nil, err
	}
	for _, key := range sortedKeys(s.MatchLabels) {
		with = append(with, policy.LabelSelector{Key: key, Values: []string{s.MatchLabels[key]}})
	}
	for _, r := range s.MatchExpressions {
		switch r.Operator {
		case metav1.LabelSelectorOpIn:
			with = append(with, policy.LabelSelector{Key: r.Key, Values: r.Values})
		case metav1.LabelSelectorOpExists:
			with = append(with, policy.LabelSelector{Key: r.Key, Values: []string{anyValue}})
		case metav1.LabelSelectorOpNotIn:
			without = append(without, policy.LabelSelector{Key: r.Key, Values: r.Values})
		case metav1.LabelSelectorOpDoesNotExist:
			without = append(without, policy.LabelSelector{Key: r.Key, Values: []string{anyValue}})
		}
	}
	return with, without, nil
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// parse reads a spec as the YAML that it is the same as (JSON is YAML), so that the cluster and a host judge alike.
func parse(name, source string, spec v1alpha1.PolicySpec) (policy.Policy, error) {
	document, err := json.Marshal(map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": "Policy", "metadata": map[string]string{"name": name}, "spec": spec,
	})
	if err != nil {
		return policy.Policy{}, fmt.Errorf("%s: %w", source, err)
	}
	set, err := policy.Parse(source, document)
	if err != nil {
		return policy.Policy{}, err
	}
	if len(set) != 1 {
		return policy.Policy{}, fmt.Errorf("%s: it has %d policies", source, len(set))
	}
	set[0].Source = source
	for i := range set[0].Rules {
		set[0].Rules[i].Source = fmt.Sprintf("%s rule %d", source, i)
	}
	return set[0], nil
}
