package v1alpha1

import (
	"cmp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// maxWords is how long what kubectl get shows of a policy may be.
const maxWords = 60

// Words returns the spec in few words: the operations of the rules, and who the policy is about.
func (p *Policy) Words() (rules, subject string) {
	return p.Spec.rules(), cut(cmp.Or(p.Spec.Subject.words(), "all pods"))
}

// Words returns the spec in few words: the operations of the rules, and who the policy is about.
func (p *ClusterPolicy) Words() (rules, subject string) {
	words := p.Spec.Subject.words()
	for _, s := range []struct {
		what     string
		selector *metav1.LabelSelector
	}{{"namespaces ", p.Spec.NamespaceSelector}, {"pods ", p.Spec.PodSelector}} {
		switch {
		case s.selector == nil:
		case len(s.selector.MatchLabels)+len(s.selector.MatchExpressions) == 0:
			words = join(words, "all "+strings.TrimSpace(s.what))
		default:
			words = join(words, s.what+metav1.FormatLabelSelector(s.selector))
		}
	}
	return p.Spec.rules(), cut(cmp.Or(words, "everyone"))
}

// rules returns the operations, each once.
func (s PolicySpec) rules() string {
	var operations []string
	for _, r := range s.Rules {
		if !slices.Contains(operations, r.Operation) {
			operations = append(operations, r.Operation)
		}
	}
	return cut(strings.Join(operations, ","))
}

// words returns the selectors of a subject; nothing for everyone.
func (s Subject) words() string {
	var words string
	if s.Host {
		words = "host"
	}
	words = join(words, strings.Join(s.Binaries, ","))
	if s.Descendants {
		words += " and descendants"
	}
	if len(s.Users) > 0 {
		words = join(words, "users "+joined(s.Users))
	}
	words = join(words, strings.Join(s.Cgroups, ","))
	for _, c := range s.Containers {
		words = join(words, cmp.Or(join("", named("containers", c.Names), named("images", c.Images), labelled(c.Labels, "="), named("runtimes", c.Runtimes)), "all containers"))
	}
	for _, p := range s.Pods {
		words = join(words, cmp.Or(join("", named("namespaces", p.Namespaces), named("pods", p.Names), labelled(p.Labels, "="), labelled(p.NotLabels, "!="),
			named("containers", p.Containers), named("images", p.Images), named("service accounts", p.ServiceAccounts), strings.Join(p.Owners, ",")), "all pods"))
	}
	return words
}

func named(what string, values []string) string {
	if len(values) == 0 {
		return ""
	}
	return what + " " + strings.Join(values, ",")
}

func labelled(labels map[string]LabelValues, is string) string {
	var texts []string
	for key, values := range labels {
		texts = append(texts, key+is+strings.Join(values, "|"))
	}
	slices.Sort(texts)
	return strings.Join(texts, ",")
}

func joined(numbers []Number) string {
	texts := make([]string, len(numbers))
	for i, n := range numbers {
		texts[i] = string(n)
	}
	return strings.Join(texts, ",")
}

// join puts together what is not empty.
func join(words ...string) string {
	return strings.Join(slices.DeleteFunc(words, func(s string) bool { return s == "" }), "; ")
}

// cut shortens a text to what fits beside the other columns.
func cut(text string) string {
	if len(text) <= maxWords {
		return text
	}
	end := maxWords - len("…")
	for end > 0 && text[end]&0xc0 == 0x80 { // within a character
		end--
	}
	return text[:end] + "…"
}
