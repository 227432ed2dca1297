package chart

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

const root = "../.."

// values are those of a test, as nested maps.
type values = map[string]any

// object is what a manifest has.
type object map[string]any

// objects renders the chart and returns what it has by KIND/NAME.
func objects(t *testing.T, v values) map[string]object {
	t.Helper()
	r, err := Render(root, v)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]object{}
	for _, text := range r.Manifests {
		add(t, all, "", text)
	}
	for _, h := range r.Hooks {
		add(t, all, "hook ", h.Manifest)
	}
	return all
}

func add(t *testing.T, all map[string]object, kind, text string) {
	t.Helper()
	var o object
	if err := yaml.UnmarshalStrict([]byte(text), &o); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	name := fmt.Sprintf("%s%s/%s", kind, o["kind"], o.get("metadata.name"))
	if all[name] != nil {
		t.Errorf("%s is there twice", name)
	}
	all[name] = o
}

// get returns what is at a path of keys and indices with dots between them, a slash standing for a dot in a key; nil if
// there is nothing.
func (o object) get(path string) any {
	var at any = map[string]any(o)
	for key := range strings.SplitSeq(path, ".") {
		switch here := at.(type) {
		case map[string]any:
			at = here[strings.ReplaceAll(key, "|", ".")]
		case []any:
			if i, err := strconv.Atoi(key); err == nil && i < len(here) {
				at = here[i]
				continue
			}
			return nil
		default:
			return nil
		}
	}
	return at
}

// common values of people who switch everything on.
func everything() values {
	return values{
		"namespace": values{"create": true}, "policyReports": values{"enabled": true}, "crds": values{"keep": true},
		"metrics": values{"enabled": true, "serviceMonitor": values{"enabled": true}, "prometheusRule": values{"enabled": true}, "dashboard": values{"enabled": true}},
	}
}

func TestLint(t *testing.T) {
	version := common.KubeVersion{Version: "v1.37.2", Major: "1", Minor: "37"}
	for name, v := range map[string]values{"defaults": nil, "everything": everything()} {
		for _, m := range lint.RunAll(root+"/"+Folder, v, Namespace, lint.WithKubeVersion(&version)).Messages {
			if m.Severity > support.InfoSev {
				t.Errorf("%s: %v", name, m)
			} else {
				t.Logf("%s: %v", name, m)
			}
		}
	}
}

// TestKinds decodes every object as its type, and refuses fields that the type does not have.
func TestKinds(t *testing.T) {
	if err := apiextensions.AddToScheme(scheme.Scheme); err != nil {
		t.Fatal(err)
	}
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	r, err := Render(root, everything())
	if err != nil {
		t.Fatal(err)
	}
	texts := r.Manifests
	for _, h := range r.Hooks {
		texts = append(texts, h.Manifest)
	}
	others := 0
	for _, text := range texts {
		if strings.Contains(text, "apiVersion: monitoring.coreos.com/v1\n") { // whose types are the Prometheus operator's
			others++
			continue
		}
		if _, _, err := decoder.Decode([]byte(text), nil, nil); err != nil {
			t.Errorf("%v in\n%s", err, text)
		}
	}
	if len(texts) < 25 || others != 2 {
		t.Errorf("%d objects, %d of them of others", len(texts), others)
	}
}

// TestLeast asserts what a pod of the agent may: what docs/containers.md lists and no more, whatever is switched on.
func TestLeast(t *testing.T) {
	all := objects(t, everything())
	spec := "spec.template.spec."
	for name, want := range map[string][]any{
		"DaemonSet/ebpfguard":              {"BPF", "PERFMON", "SYS_PTRACE", "DAC_READ_SEARCH", "SYSLOG", "KILL"},
		"hook DaemonSet/ebpfguard-cleanup": {"BPF"},
		"hook Job/ebpfguard-cleanup":       nil,
	} {
		o := all[name]
		if o == nil {
			t.Fatalf("there is no %s", name)
		}
		var containers []any
		for _, kind := range []string{"initContainers", "containers"} {
			list, _ := o.get(spec + kind).([]any)
			containers = append(containers, list...)
		}
		if len(containers) == 0 {
			t.Errorf("%s has no containers", name)
		}
		for _, c := range containers {
			c := object(c.(map[string]any))
			for path, want := range map[string]any{
				"securityContext.allowPrivilegeEscalation": false, "securityContext.readOnlyRootFilesystem": true, "securityContext.capabilities.drop.0": "ALL",
			} {
				if got := c.get(path); got != want {
					t.Errorf("%s: %s is %v, want %v", name, path, got, want)
				}
			}
			if p := c.get("securityContext.privileged"); p != nil && p != false {
				t.Errorf("%s is privileged", name)
			}
			if got, _ := c.get("securityContext.capabilities.add").([]any); !slices.Equal(got, want) {
				t.Errorf("%s has the capabilities %v, want %v", name, got, want)
			}
		}
		for path, want := range map[string]any{
			"securityContext.seccompProfile.type": "RuntimeDefault", "hostIPC": nil, "hostUsers": nil, "nodeSelector.kubernetes|io/os": "linux",
		} {
			if got := o.get(spec + path); got != want {
				t.Errorf("%s: %s is %v, want %v", name, path, got, want)
			}
		}
	}
	agent := all["DaemonSet/ebpfguard"]
	for path, want := range map[string]any{
		spec + "hostPID": true, spec + "automountServiceAccountToken": false, spec + "priorityClassName": "system-node-critical",
		spec + "tolerations.0.operator": "Exists", spec + "tolerations.0.key": nil, spec + "tolerations.1": nil,
		spec + "volumes.4.projected.sources.0.serviceAccountToken.expirationSeconds": float64(3600),
		"spec.updateStrategy.rollingUpdate.maxSurge":                                 float64(0),
	} {
		if got := agent.get(path); got != want {
			t.Errorf("%s is %v, want %v", path, got, want)
		}
	}
	var paths []string
	for _, v := range agent.get(spec + "volumes").([]any) {
		if p, ok := object(v.(map[string]any)).get("hostPath.path").(string); ok {
			paths = append(paths, p)
		}
	}
	if want := []string{"/sys/fs/bpf", "/var/lib/ebpfguard"}; !slices.Equal(paths, want) {
		t.Errorf("it mounts %q of the node, want %q", paths, want)
	}
}

// TestRoles asserts that no role has wildcards, and that an agent can change neither policies nor pods nor roles.
func TestRoles(t *testing.T) {
	all := objects(t, everything())
	roles := 0
	for name, o := range all {
		if kind := fmt.Sprint(o["kind"]); kind != "Role" && kind != "ClusterRole" {
			continue
		}
		roles++
		for _, r := range o.get("rules").([]any) {
			rule := object(r.(map[string]any))
			text := fmt.Sprint(rule)
			if strings.Contains(text, "*") {
				t.Errorf("%s has a wildcard: %s", name, text)
			}
			resources, verbs := fmt.Sprint(rule.get("resources")), fmt.Sprint(rule.get("verbs"))
			if strings.Contains(resources, "secrets") || strings.Contains(resources, "serviceaccounts") || strings.Contains(resources, "roles") {
				t.Errorf("%s has %s", name, text)
			}
			if name == "ClusterRole/ebpfguard" && strings.ContainsAny(resources, " ") && verbs != "[get list watch]" && !strings.Contains(resources, "/status") && !strings.Contains(resources, "reports") {
				t.Errorf("%s may %s %s", name, verbs, resources)
			}
		}
	}
	if roles != 7 {
		t.Errorf("there are %d roles", roles)
	}
	if all["Role/ebpfguard-operator"].get("rules.1.resources.0") != "pods/exec" || all["ClusterRole/ebpfguard-operator"] == nil {
		t.Error("operators cannot run commands in the agents' pods")
	}
}

// TestHooks asserts the order of the uninstallation, and that nothing of it stays.
func TestHooks(t *testing.T) {
	r, err := Render(root, nil)
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, h := range r.Hooks {
		order = append(order, h.Kind)
		if len(h.Events) != 1 || h.Events[0].String() != "post-delete" {
			t.Errorf("%s runs at %v: the agents have to be gone, or they put in force again what is ended", h.Kind, h.Events)
		}
		if got := fmt.Sprint(h.DeletePolicies); got != "[before-hook-creation hook-succeeded]" {
			t.Errorf("%s is deleted at %s", h.Kind, got)
		}
	}
	if want := []string{"DaemonSet", "ServiceAccount", "Role", "RoleBinding", "Job"}; !slices.Equal(order, want) {
		t.Errorf("the order is %q, want %q", order, want)
	}
	all := objects(t, nil)
	job, cleanup, agent := all["hook Job/ebpfguard-cleanup"], all["hook DaemonSet/ebpfguard-cleanup"], all["DaemonSet/ebpfguard"]
	if got := fmt.Sprint(job.get("spec.template.spec.containers.0.args")); got != "[kubernetes await-cleanup --namespace=ebpfguard --timeout=240s]" {
		t.Errorf("the job runs %s", got)
	}
	// The agents' selector takes no pod of the cleanup for one, and the job none of its own.
	agentName := agent.get("spec.selector.matchLabels.app|kubernetes|io/name")
	for _, o := range []object{job, cleanup} {
		if o.get("spec.template.metadata.labels.app|kubernetes|io/name") == agentName {
			t.Errorf("a pod of %v counts as an agent", o["kind"])
		}
	}
	if job.get("spec.template.metadata.labels.app|kubernetes|io/name") == cleanup.get("spec.selector.matchLabels.app|kubernetes|io/name") {
		t.Error("the job waits for itself")
	}
}

func TestNotes(t *testing.T) {
	for _, tt := range []struct {
		v    values
		want string
	}{
		{nil, "and removes what is left there, and all policies with it."},
		{values{"crds": values{"keep": true}}, "and removes what is left there."},
		{values{"cleanup": values{"enabled": false}}, "until each boots"},
	} {
		r, err := Render(root, tt.v)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{tt.want, "kubectl -n ebpfguard rollout status daemonset/ebpfguard", "kubectl apply -f -", "kubectl get clusterpolicies"} {
			if !strings.Contains(r.Notes, want) {
				t.Errorf("%v: the notes do not say %q:\n%s", tt.v, want, r.Notes)
			}
		}
	}
}
