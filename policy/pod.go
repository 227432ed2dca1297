package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ebpfguard/ebpfguard/internal/strictyaml"
)

// Pod is the Kubernetes pod of a container.
type Pod struct {
	Namespace string            `json:"namespace"`
	Name      string            `json:"name"`
	UID       string            `json:"uid,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
	// ServiceAccount is the name of the pod's service account.
	ServiceAccount string `json:"service_account,omitempty"`
	// Owners are what controls the pod, as KIND/NAME: such as ReplicaSet/web-7f6d and Deployment/web.
	Owners []string `json:"owners,omitempty"`
	// Partial says that service account and owners are to be known, and are not yet: runtimes do not tell
	// them, the API server does. Where a policy asks for them, the pod's containers are unidentified ones
	// ([Process.Unidentified]) until then.
	Partial bool `json:"partial,omitempty"`
	// NewNamespace says that the namespace is so new that it is not known yet which policies are meant for it. Where
	// one is for such as well ([NewNamespaces]), the pod's containers are unidentified ones until then. Alerts do not
	// tell it.
	NewNamespace bool `json:"-"`
}

// NewNamespaces, among the namespaces of a [PodSelector], says that these were chosen by their labels: a namespace of which
// the labels are not known yet may be another one.
const NewNamespaces = "-"

// PodSelector selects the containers of Kubernetes pods by what is given of it: each kind must match, the
// values of one kind are alternatives. The zero value selects all containers of pods, the pods' own
// process among them.
type PodSelector struct {
	// Namespaces and Names are those of pods, possibly with '*' and '?'; see also [NewNamespaces].
	Namespaces []string `json:"namespaces,omitempty"`
	Names      []string `json:"names,omitempty"`
	// Labels are the labels that a pod must have, all of them.
	Labels []LabelSelector `json:"labels,omitempty"`
	// NotLabels are labels that a pod must not have, none of them: with one of the values, a label that it
	// must not have at all with the value '*'.
	NotLabels []LabelSelector `json:"not_labels,omitempty"`
	// Containers are the names of containers in the pod, possibly with '*' and '?': init, sidecar and
	// ephemeral containers too.
	Containers []string `json:"containers,omitempty"`
	// Images are as in [ContainerSelector].
	Images []string `json:"images,omitempty"`
	// ServiceAccounts are names, possibly with '*' and '?'.
	ServiceAccounts []string `json:"service_accounts,omitempty"`
	// Owners are what controls the pod, as KIND/NAME with '*' and '?' in the name: Deployment/web, Job/*.
	Owners []string `json:"owners,omitempty"`
}

// match tells whether the selector selects a container of a pod: maybe, where that depends on what is not known yet.
func (s PodSelector) match(c Container) certainty {
	if c.Pod == nil {
		return no
	}
	any := func(patterns []string, value string) bool {
		return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p string) bool { return MatchComponent(p, value) })
	}
	owns := func(pattern string) bool {
		return slices.ContainsFunc(c.Pod.Owners, func(owner string) bool { return matchOwner(pattern, owner) })
	}
	if !any(s.Names, c.Pod.Name) || !any(s.Containers, c.Name) || !matchImages(s.Images, c) || !matchLabels(s.Labels, c.Pod.Labels) ||
		slices.ContainsFunc(s.NotLabels, func(l LabelSelector) bool { return matchLabels([]LabelSelector{l}, c.Pod.Labels) }) {
		return no
	}
	result := yes
	for _, key := range []struct{ matches, unknown bool }{
		{any(s.Namespaces, c.Pod.Namespace), c.Pod.NewNamespace && slices.Contains(s.Namespaces, NewNamespaces)},
		{any(s.ServiceAccounts, c.Pod.ServiceAccount), c.Pod.Partial},
		{len(s.Owners) == 0 || slices.ContainsFunc(s.Owners, owns), c.Pod.Partial},
	} {
		switch {
		case key.matches:
		case key.unknown:
			result = maybe
		default:
			return no
		}
	}
	return result
}

// matchOwner compares KIND/NAME.
func matchOwner(pattern, owner string) bool {
	kind, name, _ := strings.Cut(pattern, "/")
	ownKind, ownName, _ := strings.Cut(owner, "/")
	return kind == ownKind && MatchComponent(name, ownName)
}

func (s PodSelector) validate() error {
	var errs []error
	list := func(what, key string, values []string, check func(string) error) {
		if values != nil && len(values) == 0 {
			errs = append(errs, fmt.Errorf("the pod's %s are empty, which selects no pod; name at least one or leave out %[1]s", key))
		}
		errs = append(errs, checkList(what, values, check))
	}
	list("namespace", "namespaces", s.Namespaces, checkNamespace)
	list("pod name", "names", s.Names, checkPodName)
	list("container name", "containers", s.Containers, checkContainerName)
	list("image", "images", s.Images, checkImage)
	list("service account", "serviceAccounts", s.ServiceAccounts, checkServiceAccount)
	list("owner", "owners", s.Owners, checkOwner)
	errs = append(errs, checkLabels("pod", s.Labels), checkLabels("pod", s.NotLabels))
	return errors.Join(errs...)
}

func checkNamespace(text string) error { return checkObjectName("namespace", text, "shop or shop-*") }
func checkPodName(text string) error   { return checkObjectName("pod name", text, "web-0 or web-*") }
func checkServiceAccount(text string) error {
	return checkObjectName("service account", text, "default")
}

// maxObjectName is how long the name of a Kubernetes object may be
// (k8s.io/apimachinery, pkg/util/validation, DNS1123SubdomainMaxLength).
const maxObjectName = 253

// checkObjectName checks what names an object of Kubernetes, possibly with wildcards.
func checkObjectName(what, text, example string) error {
	if err := checkPlain(what, text, example); err != nil {
		return err
	}
	if len(text) > maxObjectName {
		return fmt.Errorf("%s %q has %d characters, Kubernetes allows %d; shorten it", what, shorten(text), len(text), maxObjectName)
	}
	if i := strings.IndexFunc(text, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789-.*?", r)
	}); i >= 0 {
		return fmt.Errorf("%s %q has the character %q, which names in Kubernetes cannot have; write lower-case letters, digits, '-' and '.', or the wildcards '*' and '?', such as %s",
			what, shorten(text), []rune(text[i:])[0], example)
	}
	return nil
}

func checkOwner(text string) error {
	const example = "Deployment/web or Job/*"
	if err := checkPlain("owner", text, example); err != nil {
		return err
	}
	kind, name, ok := strings.Cut(text, "/")
	if !ok || kind == "" || strings.Contains(name, "/") {
		return fmt.Errorf("owner %q is not KIND/NAME; write one such as %s", shorten(text), example)
	}
	if isGlob(kind) || kind[0] < 'A' || kind[0] > 'Z' {
		return fmt.Errorf("owner %q has the kind %q; write a kind as manifests have it, without wildcards, such as %s", shorten(text), shorten(kind), example)
	}
	return checkObjectName("owner", name, example)
}

// String returns the selector as flow-style YAML.
func (s PodSelector) String() string {
	var f flow
	f.list("namespaces", quoted(s.Namespaces))
	f.list("names", quoted(s.Names))
	f.labels("labels", s.Labels)
	f.labels("notLabels", s.NotLabels)
	f.list("containers", quoted(s.Containers))
	f.list("images", quoted(s.Images))
	f.list("serviceAccounts", quoted(s.ServiceAccounts))
	f.list("owners", quoted(s.Owners))
	return f.String()
}

// labels adds labels with their values.
func (f *flow) labels(key string, labels []LabelSelector) {
	if len(labels) == 0 {
		return
	}
	var texts flow
	for _, label := range labels {
		texts.list(strictyaml.Scalar(label.Key), quoted(label.Values))
	}
	f.mapping(key, texts.String())
}

// podTexts returns the selectors as YAML.
func podTexts(list []PodSelector) []string {
	texts := make([]string, len(list))
	for i, s := range list {
		texts[i] = s.String()
	}
	return texts
}

// Inside is what a subject says of the container that a process is in. Where both lists are given, one
// of each must select the same container.
type Inside struct {
	Containers []ContainerSelector
	Pods       []PodSelector
	// Identified is that of [Subject].
	Identified bool
}

// Inside returns what the subject says of containers and pods.
func (s Subject) Inside() Inside { return Inside{s.Containers, s.Pods, s.Identified} }

// IsZero reports whether it says nothing.
func (in Inside) IsZero() bool { return len(in.Containers)+len(in.Pods) == 0 }

// IsAny reports whether it is about every container, also one of which nothing is known.
func (in Inside) IsAny() bool {
	return !in.Identified && len(in.Pods) == 0 && slices.ContainsFunc(in.Containers, ContainerSelector.IsAny)
}

// NeedsAPI reports whether it asks for what runtimes do not know of pods, the API server does.
func (in Inside) NeedsAPI() bool {
	return slices.ContainsFunc(in.Pods, func(s PodSelector) bool { return len(s.ServiceAccounts)+len(s.Owners) > 0 })
}

// IsPartial reports whether a container is one of a pod that is known in part only.
func (c Container) IsPartial() bool { return c.Pod != nil && (c.Pod.Partial || c.Pod.NewNamespace) }

// Selects reports whether a container is meant for certain.
func (in Inside) Selects(c Container) bool { return in.match(c) == yes }

// MaySelect reports whether it is not known yet if a container is meant.
func (in Inside) MaySelect(c Container) bool { return in.match(c) == maybe }

func (in Inside) match(c Container) certainty {
	if len(in.Containers) > 0 && !slices.ContainsFunc(in.Containers, func(s ContainerSelector) bool { return s.Selects(c) }) {
		return no
	}
	if len(in.Pods) == 0 {
		return yes
	}
	result := no
	for _, s := range in.Pods {
		result = max(result, s.match(c))
	}
	if in.Identified && result == maybe {
		return no
	}
	return result
}

// settled returns the process as the policies see it: a container of which is not known what one of them asks for is
// unidentified, and of another one enough is known.
func (p Process) settled(set []Policy) Process {
	if !slices.ContainsFunc(p.Containers, Container.IsPartial) {
		return p
	}
	p.Containers = slices.Clone(p.Containers)
	for i, c := range p.Containers {
		if c.IsPartial() && !slices.ContainsFunc(set, func(q Policy) bool { return q.Subject.Inside().MaySelect(c) }) {
			pod := *c.Pod
			pod.Partial, pod.NewNamespace = false, false
			p.Containers[i].Pod = &pod
		}
	}
	return p
}

// describePod returns the pod that the flags describe, nil if they tell of none. Without a service account and an
// owner it is a pod of which these are not known yet.
func describePod(d Description) (*Pod, error) {
	if !d.has(flagPod, flagPodLabel, flagServiceAccount, flagOwner) {
		return nil, nil
	}
	p := &Pod{ServiceAccount: d.text(flagServiceAccount), Owners: d.list(flagOwner), Labels: map[string]string{}}
	var ok bool
	if p.Namespace, p.Name, ok = strings.Cut(d.text(flagPod), "/"); !ok || p.Namespace == "" || p.Name == "" {
		return nil, fmt.Errorf("--%s %q is no pod; write NAMESPACE/NAME such as shop/web-0", flagPod.Name, shorten(d.text(flagPod)))
	}
	for _, owner := range p.Owners {
		if err := checkOwner(owner); err != nil {
			return nil, fmt.Errorf("--%s: %w", flagOwner.Name, err)
		}
	}
	p.Partial = p.ServiceAccount == "" && len(p.Owners) == 0
	return p, describeLabels(d, flagPodLabel, p.Labels)
}
