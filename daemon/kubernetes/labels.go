package kubernetes

import (
	"slices"

	"github.com/ebpfguard/ebpfguard/policy"
)

// A policy's pods and its podSelector can ask for the same label, and the latter several times. A selector of the guard has
// each label once, so what they ask for is put together here.

// narrow returns the selectors for the pods that a podSelector selects too. Those that no pod matches are left out.
func narrow(pods []policy.PodSelector, with, without []policy.LabelSelector) []policy.PodSelector {
	var result []policy.PodSelector
	for _, s := range pods {
		possible := true
		for _, label := range with {
			s.Labels, possible = require(s.Labels, label, possible)
		}
		for _, label := range without {
			s.NotLabels = exclude(s.NotLabels, label)
		}
		if possible {
			result = append(result, s)
		}
	}
	return result
}

// require returns labels that also have one of the values, which are those of a podSelector: as they are or '*'.
func require(labels []policy.LabelSelector, label policy.LabelSelector, possible bool) ([]policy.LabelSelector, bool) {
	i := slices.IndexFunc(labels, func(l policy.LabelSelector) bool { return l.Key == label.Key })
	if i < 0 {
		return append(slices.Clip(labels), label), possible
	}
	if slices.Contains(label.Values, anyValue) {
		return labels, possible
	}
	var both []string
	for _, value := range label.Values {
		if slices.ContainsFunc(labels[i].Values, func(p string) bool { return policy.MatchComponent(p, value) }) {
			both = append(both, value)
		}
	}
	labels = slices.Clone(labels)
	labels[i].Values = both
	return labels, possible && len(both) > 0
}

// exclude returns labels that a pod must not have, with these values too.
func exclude(labels []policy.LabelSelector, label policy.LabelSelector) []policy.LabelSelector {
	i := slices.IndexFunc(labels, func(l policy.LabelSelector) bool { return l.Key == label.Key })
	if i < 0 {
		return append(slices.Clip(labels), label)
	}
	labels = slices.Clone(labels)
	all := slices.Concat(labels[i].Values, label.Values)
	slices.Sort(all)
	labels[i].Values = slices.Compact(all)
	return labels
}

// anyValue is the pattern of a label's value that selects all.
const anyValue = "*"
