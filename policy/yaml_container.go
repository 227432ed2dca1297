package policy

import (
	"go.yaml.in/yaml/v3"
)

// containers decodes the containers of a subject.
func (d *decoder) containers(n *yaml.Node) []ContainerSelector {
	var selectors []ContainerSelector
	for _, item := range d.List(n, "containers") {
		const example = `{images: [nginx]}, or {} for any container`
		set, ok := d.Mapping(item, "a container", example, "names", "images", "labels", "ids", "runtimes")
		if !ok {
			continue
		}
		var s ContainerSelector
		for _, list := range []struct {
			key, what string
			to        *[]string
			check     func(string) error
		}{
			{"names", "container name", &s.Names, checkContainerName},
			{"images", "image", &s.Images, checkImage},
			{"ids", "container id", &s.IDs, checkContainerID},
			{"runtimes", "runtime", &s.Runtimes, checkRuntime},
		} {
			if value, ok := set[list.key]; ok {
				*list.to = d.unique(value, list.key, list.what, list.check)
			}
		}
		if value, ok := set["labels"]; ok {
			s.Labels = d.labels(value, "labels")
		}
		selectors = append(selectors, s)
	}
	return selectors
}

// pods decodes the pods of a subject.
func (d *decoder) pods(n *yaml.Node) []PodSelector {
	var selectors []PodSelector
	for _, item := range d.List(n, "pods") {
		const example = `{namespaces: [shop]}, or {} for any pod`
		set, ok := d.Mapping(item, "a pod", example, "namespaces", "names", "labels", "notLabels", "containers", "images", "serviceAccounts", "owners")
		if !ok {
			continue
		}
		var s PodSelector
		for _, list := range []struct {
			key, what string
			to        *[]string
			check     func(string) error
		}{
			{"namespaces", "namespace", &s.Namespaces, checkNamespace},
			{"names", "pod name", &s.Names, checkPodName},
			{"containers", "container name", &s.Containers, checkContainerName},
			{"images", "image", &s.Images, checkImage},
			{"serviceAccounts", "service account", &s.ServiceAccounts, checkServiceAccount},
			{"owners", "owner", &s.Owners, checkOwner},
		} {
			if value, ok := set[list.key]; ok {
				*list.to = d.unique(value, list.key, list.what, list.check)
			}
		}
		if value, ok := set["labels"]; ok {
			s.Labels = d.labels(value, "labels")
		}
		if value, ok := set["notLabels"]; ok {
			s.NotLabels = d.labels(value, "notLabels")
		}
		selectors = append(selectors, s)
	}
	return selectors
}

// labels decodes labels, of which each has one value or a list of them.
func (d *decoder) labels(n *yaml.Node, field string) []LabelSelector {
	example := field + ": {app: web}"
	set, ok := d.Mapping(n, field, example, keysOf(n)...)
	if !ok {
		return nil
	}
	if len(set) == 0 {
		d.Fail(n, "%s are empty; write some, such as %s, or leave the field out", field, example)
	}
	labels := make([]LabelSelector, 0, len(set))
	for _, key := range keysOf(n) {
		value, ok := set[key]
		if !ok {
			continue
		}
		if err := checkLabelKey(key); err != nil {
			d.Check(n, err)
			continue
		}
		label := LabelSelector{Key: key}
		if value.Kind == yaml.SequenceNode {
			label.Values = d.unique(value, "label "+key, "label value", checkLabelValue)
		} else if text, ok := d.Text(value, "the value of label "+key); ok {
			d.Check(value, checkLabelValue(text))
			label.Values = []string{text}
		}
		labels = append(labels, label)
	}
	return labels
}

// keysOf returns the keys of a mapping that may be any.
func keysOf(n *yaml.Node) []string {
	var keys []string
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if key := n.Content[i]; key.Kind == yaml.ScalarNode {
				keys = append(keys, key.Value)
			}
		}
	}
	return keys
}
