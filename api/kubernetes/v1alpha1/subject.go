package v1alpha1

// Subject selects processes: every key that is given must match, of a key's values one must.
//
// +kubebuilder:validation:XValidation:rule="!has(self.descendants) || has(self.binaries)",message="descendants needs binaries: name the programs whose descendants are meant, or leave it out"
// +kubebuilder:validation:XValidation:rule="!has(self.host) || self.host || has(self.binaries) || has(self.users) || has(self.cgroups) || has(self.containers) || has(self.pods)",message="host: false selects nobody; write true, or leave it out for everyone"
// +kubebuilder:validation:XValidation:rule="!has(self.host) || !self.host || !(has(self.containers) || has(self.pods))",message="the subject is the host and containers or pods at the same time, which no process is in; leave out one of them, or write two policies"
type Subject struct {
	// Binaries are paths of programs and scripts, directories with a slash at the end, and globs.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=4095
	// +kubebuilder:validation:items:XValidation:rule="self.startsWith('/')",message="the binary is not absolute; write the whole path, such as /usr/sbin/sshd, or /**/sshd wherever it is"
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^/?([^/]+/)*[^/]*$') && !self.matches('/[.][.]?(/|$)')",message="the binary is not a clean path; write it without //, /./ and /../"
	Binaries []string `json:"binaries,omitempty"`
	// Descendants also selects what the binaries start, directly or not.
	Descendants bool `json:"descendants,omitempty"`
	// Users are numbers, ranges (1000-1999) and names of the node's users.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:XIntOrString
	// +kubebuilder:validation:items:MaxLength=255
	// +kubebuilder:validation:items:XValidation:rule="type(self) == int ? self >= 0 && self <= 4294967294 : self.matches('^((0|[1-9][0-9]{0,9})-(0|[1-9][0-9]{0,9})|([0-9][0-9-]*)?[^0-9:,/\\\\s-][^:,/\\\\s]*)$')",message="this is no user; write a number without quotes, a range such as 1000-1999, or a name"
	Users []Number `json:"users,omitempty"`
	// Cgroups are paths of control groups, each with all below it; a ClusterPolicy only.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=4095
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^(/|(/[^/]+)+)$') && !self.matches('/[.][.]?(/|$)|[*][*]') && !self.startsWith('/sys/fs/cgroup/')",message="this is no control group; write its clean path from the root of the hierarchy, without a slash at the end and **, such as /system.slice/nginx.service"
	Cgroups []string `json:"cgroups,omitempty"`
	// Containers select what is in a container.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Containers []ContainerSelector `json:"containers,omitempty"`
	// Pods select what is in a pod.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Pods []PodSelector `json:"pods,omitempty"`
	// Host selects what is in no container; a ClusterPolicy only.
	Host bool `json:"host,omitempty"`
}

// ContainerSelector selects containers; an empty one any.
type ContainerSelector struct {
	// Names are the names of containers in their pods, with the wildcards * and ?.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:items:XValidation:rule="!self.contains('/')",message="the container's name has a slash; write the name alone, such as web"
	Names []string `json:"names,omitempty"`
	// Images are references; without a tag any tag, with a digest that content. * is within one component, **
	// for any number.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^([^/@]+/)*([^/@:]+|[^/@]+:[^/@:]*)(@.*:|$)')",message="this is no image; write a reference without a scheme, such as nginx, docker.io/library/nginx:1.27, ghcr.io/acme/** or nginx@sha256:9c5…"
	Images []string `json:"images,omitempty"`
	// Labels are labels of the container or its pod, each with the values that it may have.
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=64
	Labels map[string]LabelValues `json:"labels,omitempty"`
	// Runtimes are what manages the container, such as containerd.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[a-z0-9-]+$')",message="this is no runtime; write containerd, cri-o, docker, podman, systemd-nspawn, lxc or oci"
	Runtimes []string `json:"runtimes,omitempty"`
}

// LabelValues are the values that a label may have, with the wildcards * and ?.
//
// +listType=atomic
// +kubebuilder:validation:MinItems=1
// +kubebuilder:validation:MaxItems=64
// +kubebuilder:validation:items:MaxLength=512
type LabelValues []string

// PodSelector selects the containers of pods; an empty one any pod's.
type PodSelector struct {
	// Namespaces are names, with the wildcards * and ?. A Policy is about its own namespace, whatever is here.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[a-z0-9.*?-]+$')",message="this is no namespace; write lower-case letters, digits, - and ., or the wildcards * and ?, such as shop or shop-*"
	Namespaces []string `json:"namespaces,omitempty"`
	// Names are the names of pods, with the wildcards * and ?.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[a-z0-9.*?-]+$')",message="this is no name of a pod; write lower-case letters, digits, - and ., or the wildcards * and ?, such as web-0 or web-*"
	Names []string `json:"names,omitempty"`
	// Labels are labels of the pod, each with the values that it may have.
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=64
	Labels map[string]LabelValues `json:"labels,omitempty"`
	// NotLabels are labels of which the pod must have none, each with the values that it must not have.
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=64
	NotLabels map[string]LabelValues `json:"notLabels,omitempty"`
	// Containers are names of containers in the pod, also of init, sidecar and ephemeral ones.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:items:XValidation:rule="!self.contains('/')",message="the container's name has a slash; write the name alone, such as web"
	Containers []string `json:"containers,omitempty"`
	// Images are references, as of containers.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^([^/@]+/)*([^/@:]+|[^/@]+:[^/@:]*)(@.*:|$)')",message="this is no image; write a reference without a scheme, such as nginx, docker.io/library/nginx:1.27, ghcr.io/acme/** or nginx@sha256:9c5…"
	Images []string `json:"images,omitempty"`
	// ServiceAccounts are names, with the wildcards * and ?.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[a-z0-9.*?-]+$')",message="this is no service account; write lower-case letters, digits, - and ., or the wildcards * and ?, such as default"
	ServiceAccounts []string `json:"serviceAccounts,omitempty"`
	// Owners are what controls the pod, directly or not, as KIND/NAME: Deployment/web, Job/*.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=317
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[A-Z][A-Za-z0-9-]*/[a-z0-9.*?-]+$')",message="this is no owner; write KIND/NAME with the kind as manifests have it, such as Deployment/web or Job/*"
	Owners []string `json:"owners,omitempty"`
}
