package chart

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const pod = "spec.template.spec."

// changes is what each value changes: in which object, where, and to what.
var changes = []struct {
	value    string
	to       any
	in, path string
	want     any
	with     values
}{
	{"image.repository", "r.example.com/guard", "DaemonSet/ebpfguard", pod + "containers.0.image", "r.example.com/guard:" + version, nil},
	{"image.repository", "r.example.com/guard", "hook DaemonSet/ebpfguard-cleanup", pod + "initContainers.0.image", "r.example.com/guard:" + version, nil},
	{"image.repository", "r.example.com/guard", "hook Job/ebpfguard-cleanup", pod + "containers.0.image", "r.example.com/guard:" + version, nil},
	{"image.tag", "1", "DaemonSet/ebpfguard", pod + "containers.0.image", "ebpfguard:1", nil},
	{"image.digest", digest, "DaemonSet/ebpfguard", pod + "containers.0.image", "ebpfguard@" + digest, nil},
	{"image.pullPolicy", "Never", "DaemonSet/ebpfguard", pod + "containers.0.imagePullPolicy", "Never", nil},
	{"image.pullSecrets", []any{"s"}, "DaemonSet/ebpfguard", pod + "imagePullSecrets.0.name", "s", nil},
	{"image.pullSecrets", []any{"s"}, "hook DaemonSet/ebpfguard-cleanup", pod + "imagePullSecrets.0.name", "s", nil},
	{"image.pullSecrets", []any{"s"}, "hook Job/ebpfguard-cleanup", pod + "imagePullSecrets.0.name", "s", nil},
	{"config.outputs", []any{}, "ConfigMap/ebpfguard", "config.outputs", []any{}, nil},
	{"config.containers.fail", "closed", "ConfigMap/ebpfguard", "config.containers.fail", "closed", nil},
	{"config.containers.sources", []any{values{"type": "nri"}}, "ConfigMap/ebpfguard", "config.containers.sources.0.type", "nri", nil},
	{"config.log_format", "text", "ConfigMap/ebpfguard", "config.log_format", "text", nil},
	{"config.log_level", "debug", "ConfigMap/ebpfguard", "config.log_level", "debug", nil},
	{"nodeSelector", values{"a": "b"}, "DaemonSet/ebpfguard", pod + "nodeSelector.a", "b", nil},
	{"nodeSelector", values{"a": "b"}, "hook DaemonSet/ebpfguard-cleanup", pod + "nodeSelector.a", "b", nil},
	{"affinity", values{"nodeAffinity": values{}}, "DaemonSet/ebpfguard", pod + "affinity.nodeAffinity", values{}, nil},
	{"tolerations", []any{}, "DaemonSet/ebpfguard", pod + "tolerations", []any{}, nil},
	{"priorityClassName", "mine", "DaemonSet/ebpfguard", pod + "priorityClassName", "mine", nil},
	{"hostNetwork", false, "DaemonSet/ebpfguard", pod + "hostNetwork", nil, nil},
	{"maxUnavailable", "10%", "DaemonSet/ebpfguard", "spec.updateStrategy.rollingUpdate.maxUnavailable", "10%", nil},
	{"hostPaths.bpf", "/run/bpf", "ConfigMap/ebpfguard", "config.pins", "/run/bpf/ebpfguard", nil},
	{"hostPaths.bpf", "/run/bpf", "DaemonSet/ebpfguard", pod + "volumes.1.hostPath.path", "/run/bpf", nil},
	{"hostPaths.bpf", "/run/bpf", "hook DaemonSet/ebpfguard-cleanup", pod + "initContainers.0.args.2", "--pins=/run/bpf/ebpfguard", nil},
	{"hostPaths.state", "/data/guard", "ConfigMap/ebpfguard", "config.state", "/data/guard", nil},
	{"hostPaths.state", "/data/guard", "DaemonSet/ebpfguard", pod + "volumes.2.hostPath.path", "/data/guard", nil},
	{"hostPaths.state", "/data/guard", "DaemonSet/ebpfguard", pod + "containers.0.volumeMounts.2.mountPath", "/data/guard", nil},
	{"hostPaths.state", "/data/guard", "hook DaemonSet/ebpfguard-cleanup", pod + "volumes.1.hostPath.path", "/data", nil},
	{"resources.requests.cpu", "1", "DaemonSet/ebpfguard", pod + "containers.0.resources.requests.cpu", "1", nil},
	{"resources.requests.memory", "1Gi", "DaemonSet/ebpfguard", pod + "containers.0.resources.requests.memory", "1Gi", nil},
	{"resources.limits.memory", "2Gi", "DaemonSet/ebpfguard", pod + "containers.0.resources.limits.memory", "2Gi", nil},
	{"seLinuxOptions.type", "x_t", "DaemonSet/ebpfguard", pod + "securityContext.seLinuxOptions.type", "x_t", nil},
	{"podAnnotations", values{"a": "b"}, "DaemonSet/ebpfguard", "spec.template.metadata.annotations.a", "b", nil},
	{"podLabels", values{"a": "b"}, "DaemonSet/ebpfguard", "spec.template.metadata.labels.a", "b", nil},
	{"crds.install", false, "CustomResourceDefinition/policies.ebpfguard.io", "kind", nil, nil},
	{"crds.keep", true, "CustomResourceDefinition/policies.ebpfguard.io", "metadata.annotations.helm|sh/resource-policy", "keep", nil},
	{"rbac.policyWriters", []any{"admin", "edit"}, "ClusterRole/ebpfguard-policies", "metadata.labels.rbac|authorization|k8s|io/aggregate-to-edit", "true", nil},
	{"namespace.create", true, "Namespace/ebpfguard", "metadata.labels.pod-security|kubernetes|io/enforce", "privileged", nil},
	{"policyReports.enabled", true, "ConfigMap/ebpfguard", "config.policy_reports", true, nil},
	{"policyReports.enabled", true, "ClusterRole/ebpfguard", "rules.7.apiGroups.0", "wgpolicyk8s.io", nil},
	{"metrics.enabled", true, "DaemonSet/ebpfguard", pod + "containers.0.args.2", "--metrics=[$(POD_IP)]:9477", nil},
	{"metrics.enabled", true, "Service/ebpfguard", "spec.ports.0.port", float64(9477), nil},
	{"metrics.port", 1234, "DaemonSet/ebpfguard", pod + "containers.0.ports.0.containerPort", float64(1234), values{"metrics": values{"enabled": true}}},
	{"metrics.serviceMonitor.enabled", true, "ServiceMonitor/ebpfguard", "spec.endpoints.0.port", "metrics", values{"metrics": values{"enabled": true}}},
	{"metrics.serviceMonitor.interval", "5s", "ServiceMonitor/ebpfguard", "spec.endpoints.0.interval", "5s", monitored},
	{"metrics.serviceMonitor.labels", values{"a": "b"}, "ServiceMonitor/ebpfguard", "metadata.labels.a", "b", monitored},
	{"metrics.prometheusRule.enabled", true, "PrometheusRule/ebpfguard", "spec.groups.0.name", "ebpfguard", nil},
	{"metrics.prometheusRule.labels", values{"a": "b"}, "PrometheusRule/ebpfguard", "metadata.labels.a", "b", values{"metrics": values{"prometheusRule": values{"enabled": true}}}},
	{"metrics.dashboard.enabled", true, "ConfigMap/ebpfguard-dashboard", "kind", "ConfigMap", nil},
	{"metrics.dashboard.labels", values{"a": "b"}, "ConfigMap/ebpfguard-dashboard", "metadata.labels.a", "b", values{"metrics": values{"dashboard": values{"enabled": true}}}},
	{"metrics.dashboard.labels.grafana_dashboard", "2", "ConfigMap/ebpfguard-dashboard", "metadata.labels.grafana_dashboard", "2", values{"metrics": values{"dashboard": values{"enabled": true}}}},
	{"cleanup.enabled", false, "hook Job/ebpfguard-cleanup", "kind", nil, nil},
	{"cleanup.timeout", 60, "hook Job/ebpfguard-cleanup", "spec.activeDeadlineSeconds", float64(90), nil},
}

const digest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

var monitored = values{"metrics": values{"enabled": true, "serviceMonitor": values{"enabled": true}}}

// TestValues sets one value after the other. Each value of values.yaml has to be in the table.
func TestValues(t *testing.T) {
	tried := map[string]bool{}
	for _, tt := range changes {
		tried[tt.value] = true
		t.Run(tt.value+" in "+tt.in, func(t *testing.T) {
			before, after := value(t, tt.with, tt.in, tt.path), value(t, set(tt.with, tt.value, tt.to), tt.in, tt.path)
			if fmt.Sprint(after) != fmt.Sprint(tt.want) {
				t.Errorf("%s is %v, want %v", tt.path, after, tt.want)
			}
			if fmt.Sprint(before) == fmt.Sprint(after) {
				t.Errorf("%s is %v without it as well", tt.path, before)
			}
		})
	}
	data, err := os.ReadFile(root + "/" + Folder + "/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var own values
	if err := yaml.UnmarshalStrict(data, &own); err != nil {
		t.Fatal(err)
	}
	for _, name := range leaves("", own) {
		if !tried[name] {
			t.Errorf("nobody tries the value %s", name)
		}
	}
}

// value returns what is at a path of an object; in a ConfigMap below "config" what is in its file.
func value(t *testing.T, v values, in, path string) any {
	t.Helper()
	if !strings.HasPrefix(in, "CustomResourceDefinition/") {
		v = set(v, "crds.install", false) // they take most of the time
	}
	o := objects(t, v)[in]
	key, isConfig := strings.CutPrefix(path, "config.")
	if !isConfig || o == nil {
		return o.get(path)
	}
	var file object
	if err := yaml.UnmarshalStrict([]byte(fmt.Sprint(o.get("data.config|yaml"))), &file); err != nil {
		t.Fatal(err)
	}
	return file.get(key)
}

// set returns values with one more, at a path with dots.
func set(v values, path string, to any) values {
	key, rest, nested := strings.Cut(path, ".")
	result := values{}
	for k, old := range v {
		result[k] = old
	}
	if !nested {
		result[key] = to
		return result
	}
	below, _ := result[key].(values)
	result[key] = set(below, rest, to)
	return result
}

// leaves returns the paths of all values that are no mappings, and of empty ones.
func leaves(prefix string, v values) []string {
	var all []string
	for key, value := range v {
		if below, ok := value.(values); ok && len(below) > 0 {
			all = append(all, leaves(prefix+key+".", below)...)
			continue
		}
		all = append(all, prefix+key)
	}
	return all
}

// TestSchema asserts that values which mean nothing are refused, with what is wrong and where.
func TestSchema(t *testing.T) {
	for _, tt := range []struct {
		value string
		to    any
		want  string
	}{
		{"imag", values{}, "additional properties 'imag' not allowed"},
		{"image.repo", "x", "at '/image': additional properties 'repo' not allowed"},
		{"image.repository", "", "at '/image/repository': minLength"},
		{"image.digest", "latest", "at '/image/digest': 'latest' does not match pattern"},
		{"image.pullPolicy", "Sometimes", "value must be one of 'Always', 'IfNotPresent', 'Never'"},
		{"config.pins", "/x", "at '/config': additional properties 'pins' not allowed"},
		{"config.kubernetes", false, "at '/config': additional properties 'kubernetes' not allowed"},
		{"config.on_exit", "remove", "at '/config': additional properties 'on_exit' not allowed"},
		{"config.containers.fail", "shut", "at '/config/containers/fail': value must be one of 'open', 'closed'"},
		{"config.log_level", "loud", "at '/config/log_level'"},
		{"config.outputs", []any{values{}}, "missing property 'type'"},
		{"hostNetwork", "yes", "at '/hostNetwork': got string, want boolean"},
		{"maxUnavailable", 0, "at '/maxUnavailable': minimum: got 0, want 1"},
		{"maxUnavailable", "0%", "at '/maxUnavailable'"},
		{"maxSurge", 1, "additional properties 'maxSurge' not allowed"},
		{"hostPaths.state", "/", "at '/hostPaths/state': '/' does not match pattern"},
		{"hostPaths.state", "/data", "at '/hostPaths/state': '/data' does not match pattern"},
		{"hostPaths.bpf", "../bpf", "at '/hostPaths/bpf'"},
		{"tolerations", "all", "at '/tolerations': got string, want array"},
		{"rbac.policyWriters", []any{"view"}, "value must be one of 'admin', 'edit'"},
		{"metrics.port", 70000, "at '/metrics/port': maximum: got 70,000, want 65,535"},
		{"metrics.serviceMonitor.enabled", true, "at '/metrics/enabled': value must be true"},
		{"cleanup.timeout", "5m", "at '/cleanup/timeout': got string, want integer"},
	} {
		if _, err := Render(root, set(nil, tt.value, tt.to)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v gives %v, want %q", tt.value, tt.to, err, tt.want)
		}
	}
	// Of who has this chart among the charts of another.
	if _, err := Render(root, values{"global": values{"x": 1}}); err != nil {
		t.Error(err)
	}
}
