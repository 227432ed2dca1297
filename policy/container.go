package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Container is a container as policies can tell it from others: what its runtime says of it.
type Container struct {
	// ID is the runtime's own, which no other container of this machine ever has.
	ID string `json:"id"`
	// Name is the name that its user gave it; for a container of a pod, that in the pod.
	Name string `json:"name,omitempty"`
	// Image is the reference by which the image was asked for, such as
	// docker.io/library/nginx:1.27; ImageDigest is that of its content, such as sha256:9c5….
	Image       string `json:"image,omitempty"`
	ImageDigest string `json:"image_digest,omitempty"`
	// Labels are the container's own, or for one of a pod the pod's as well.
	Labels map[string]string `json:"labels,omitempty"`
	// Runtime is what manages it: containerd, cri-o, docker, podman, systemd-nspawn, lxc or oci.
	Runtime string `json:"runtime,omitempty"`
	// Pod is nil for a container of no pod.
	Pod *Pod `json:"pod,omitempty"`
}

// ContainerSelector selects containers by what is given of it: each kind must match, the
// values of one kind are alternatives. The zero value selects every container.
type ContainerSelector struct {
	// Names are names, possibly with '*' and '?'.
	Names []string `json:"names,omitempty"`
	// Images are references as [Container.Image] has them, possibly with '*', which is
	// within one component, '**' and '?'. One without a tag or digest is that image whatever
	// its tag and digest; one with a digest needs that digest. What docker.io/ or
	// docker.io/library/ begins may be written without that.
	Images []string `json:"images,omitempty"`
	// Labels are the labels that a container must have, all of them.
	Labels []LabelSelector `json:"labels,omitempty"`
	// IDs are ids, or the first 12 characters or more of one.
	IDs []string `json:"ids,omitempty"`
	// Runtimes are what manages the container, as in [Container.Runtime].
	Runtimes []string `json:"runtimes,omitempty"`
}

// LabelSelector selects what has a label with one of the values, possibly with '*' and '?'.
type LabelSelector struct {
	Key    string   `json:"key"`
	Values []string `json:"values"`
}

// Selects reports whether the selector selects the container. The selector must be valid.
func (s ContainerSelector) Selects(c Container) bool {
	matches := func(patterns []string, match func(string) bool) bool {
		return len(patterns) == 0 || slices.ContainsFunc(patterns, match)
	}
	if !matches(s.Names, func(p string) bool { return MatchComponent(p, c.Name) }) ||
		!matchImages(s.Images, c) ||
		!matches(s.IDs, func(p string) bool { return strings.HasPrefix(c.ID, p) }) ||
		!matches(s.Runtimes, func(p string) bool { return p == c.Runtime }) {
		return false
	}
	return matchLabels(s.Labels, c.Labels)
}

// matchImages reports whether a container's image is one of those, or none is asked for.
func matchImages(patterns []string, c Container) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p string) bool {
		return splitReference(p).matches(splitReference(c.Image), c.ImageDigest)
	})
}

// matchLabels reports whether labels are those that are asked for.
func matchLabels(selectors []LabelSelector, labels map[string]string) bool {
	for _, label := range selectors {
		value, ok := labels[label.Key]
		if !ok || !slices.ContainsFunc(label.Values, func(p string) bool { return MatchComponent(p, value) }) {
			return false
		}
	}
	return true
}

// IsAny reports whether the selector selects every container.
func (s ContainerSelector) IsAny() bool {
	return len(s.Names)+len(s.Images)+len(s.Labels)+len(s.IDs)+len(s.Runtimes) == 0
}

// reference is an image's name in its parts.
type reference struct{ name, tag, digest string }

// splitReference splits NAME[:TAG][@DIGEST]. A colon in the first component is a port's.
func splitReference(text string) reference {
	var r reference
	text, r.digest, _ = strings.Cut(text, "@")
	if i := strings.LastIndexByte(text, ':'); i > strings.LastIndexByte(text, '/') {
		text, r.tag = text[:i], text[i+1:]
	}
	r.name = text
	return r
}

// matches reports whether a pattern is that of an image whose content has the digest.
func (r reference) matches(image reference, digest string) bool {
	if r.digest != "" && !MatchComponent(r.digest, digest) && (image.digest == "" || !MatchComponent(r.digest, image.digest)) {
		return false
	}
	if r.tag != "" {
		tag := image.tag
		if tag == "" && image.digest == "" {
			tag = "latest"
		}
		if !MatchComponent(r.tag, tag) {
			return false
		}
	}
	full := fullName(image.name)
	if matchImageName(r.name, full) {
		return true
	}
	for _, prefix := range []string{"docker.io/library/", "docker.io/"} {
		if short, ok := strings.CutPrefix(full, prefix); ok && matchImageName(r.name, short) {
			return true
		}
	}
	return false
}

// fullName returns an image's name with the registry that a name without one has for docker
// and containerd (github.com/distribution/reference, normalize.go).
func fullName(name string) string {
	first, _, more := strings.Cut(name, "/")
	switch {
	case name == "":
		return ""
	case !more:
		return "docker.io/library/" + name
	case !strings.ContainsAny(first, ".:") && first != "localhost":
		return "docker.io/" + name
	}
	return name
}

// matchImageName compares component by component.
func matchImageName(pattern, name string) bool {
	return matchComponents(strings.Split(pattern, "/"), strings.Split(name, "/"), false)
}

// The shortest part of an id that is taken for it: what docker and podman print.
const minContainerID = 12

func (s ContainerSelector) validate() error {
	var errs []error
	list := func(what, key string, values []string, check func(string) error) {
		if values != nil && len(values) == 0 {
			errs = append(errs, fmt.Errorf("the container's %s are empty, which selects no container; name at least one or leave out %[1]s", key))
		}
		errs = append(errs, checkList(what, values, check))
	}
	list("container name", "names", s.Names, checkContainerName)
	list("image", "images", s.Images, checkImage)
	list("container id", "ids", s.IDs, checkContainerID)
	list("runtime", "runtimes", s.Runtimes, checkRuntime)
	errs = append(errs, checkLabels("container", s.Labels))
	return errors.Join(errs...)
}

// checkLabels checks the labels that something must have.
func checkLabels(what string, labels []LabelSelector) error {
	var errs []error
	seen := map[string]bool{}
	for _, label := range labels {
		errs = append(errs, checkLabelKey(label.Key))
		if len(label.Values) == 0 {
			errs = append(errs, fmt.Errorf("the %s's label %q has no value; write '*' for any", what, shorten(label.Key)))
		}
		if seen[label.Key] {
			errs = append(errs, fmt.Errorf("the %s's label %q is there twice; name all of its values at once", what, shorten(label.Key)))
		}
		seen[label.Key] = true
		errs = append(errs, checkList("label value", label.Values, checkLabelValue))
	}
	return errors.Join(errs...)
}

func checkContainerName(text string) error {
	if err := checkPlain("container name", text, "web or web-*"); err != nil {
		return err
	}
	if strings.Contains(text, "/") {
		return fmt.Errorf("container name %q has a slash; write the name alone, such as web", shorten(text))
	}
	return nil
}

func checkImage(text string) error {
	if err := checkPlain("image", text, "nginx, nginx:1.27 or ghcr.io/acme/**"); err != nil {
		return err
	}
	r := splitReference(text)
	switch {
	case r.name == "" || slices.Contains(strings.Split(r.name, "/"), ""):
		return fmt.Errorf("image %q has an empty part; write a reference such as docker.io/library/nginx:1.27", shorten(text))
	case strings.Contains(r.name, "://"):
		return fmt.Errorf("image %q has a scheme; write it without, such as docker.io/library/nginx", shorten(text))
	case strings.Contains(text, "@") && !strings.Contains(r.digest, ":"):
		return fmt.Errorf("image %q has no digest after the @; write one such as @sha256:9c5…", shorten(text))
	}
	return nil
}

func checkContainerID(text string) error {
	if err := checkPlain("container id", text, "4f2a91c03b7d"); err != nil {
		return err
	}
	if len(text) < minContainerID && strings.Trim(text, "0123456789abcdef") == "" {
		return fmt.Errorf("container id %q is too short; write at least %d characters of it", text, minContainerID)
	}
	if isGlob(text) {
		return fmt.Errorf("container id %q has a wildcard; write the id, or the first %d characters of it", shorten(text), minContainerID)
	}
	return nil
}

func checkRuntime(text string) error {
	if text == "" || strings.Trim(text, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return fmt.Errorf("runtime %q is none; write containerd, cri-o, docker, podman, systemd-nspawn, lxc or oci", shorten(text))
	}
	return nil
}

func checkLabelKey(text string) error {
	if err := checkPlain("label", text, "app"); err != nil {
		return err
	}
	if isGlob(text) {
		return fmt.Errorf("label %q has a wildcard; write the whole key, wildcards are for its value", shorten(text))
	}
	return nil
}

func checkLabelValue(text string) error {
	if text == "" { // many labels have no value
		return nil
	}
	return checkPlain("label value", text, "web")
}

// maxPlain is how long what names a container may be.
const maxPlain = 512

// checkPlain refuses what no runtime would take for a name.
func checkPlain(what, text, example string) error {
	switch {
	case text == "":
		return fmt.Errorf("%s \"\" is empty; write one such as %s", what, example)
	case len(text) > maxPlain:
		return fmt.Errorf("%s %q has %d characters, more than %d; shorten it", what, shorten(text), len(text), maxPlain)
	case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Errorf("%s %q has a control character; remove it", what, shorten(text))
	}
	return nil
}

// String returns the selector as flow-style YAML.
func (s ContainerSelector) String() string {
	var f flow
	f.list("names", quoted(s.Names))
	f.list("images", quoted(s.Images))
	f.labels("labels", s.Labels)
	f.list("ids", quoted(s.IDs))
	f.list("runtimes", quoted(s.Runtimes))
	return f.String()
}

// containerTexts returns the selectors as YAML.
func containerTexts(list []ContainerSelector) []string {
	texts := make([]string, len(list))
	for i, s := range list {
		texts[i] = s.String()
	}
	return texts
}

// describeContainer returns the container that the flags describe, nil if they tell of none.
func describeContainer(d Description) (_ *Container, err error) {
	if !d.has(flagContainer, flagContainerID, flagImage, flagLabel, flagRuntime, flagPod, flagPodLabel, flagServiceAccount, flagOwner) {
		return nil, nil
	}
	c := &Container{
		ID: d.text(flagContainerID), Name: d.text(flagContainer), Image: d.text(flagImage), Runtime: d.text(flagRuntime), Labels: map[string]string{},
	}
	_, c.ImageDigest, _ = strings.Cut(c.Image, "@")
	if err := describeLabels(d, flagLabel, c.Labels); err != nil {
		return nil, err
	}
	if c.Pod, err = describePod(d); err != nil || c.Pod == nil {
		return c, err
	}
	for key, value := range c.Pod.Labels { // a container of a pod has the pod's labels
		if _, own := c.Labels[key]; !own {
			c.Labels[key] = value
		}
	}
	return c, nil
}

// describeLabels adds the labels that a flag gives.
func describeLabels(d Description, flag *Flag, to map[string]string) error {
	for _, label := range d.list(flag) {
		key, value, ok := strings.Cut(label, "=")
		if !ok || key == "" {
			return fmt.Errorf("--%s %q is no label; write KEY=VALUE such as app=web", flag.Name, shorten(label))
		}
		to[key] = value
	}
	return nil
}
