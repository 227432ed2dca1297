package kubernetes

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/yaml"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/ebpfguard/ebpfguard/api/kubernetes/v1alpha1"
	"github.com/ebpfguard/ebpfguard/policy"
)

// attempt is an operation, and what a recipe makes of it.
type attempt struct {
	by     policy.Process
	object policy.Object
	want   policy.Verdict
}

// in is a process in a pod, which is one of a deployment and has the label app.
func in(namespace, app, account, binary string, more ...string) policy.Process {
	own := map[string]string{"app": app}
	for _, label := range more {
		own[label] = "true"
	}
	return policy.Process{Binary: binary, Containers: []policy.Container{{Name: app, Image: app, Runtime: "containerd", Labels: own, Pod: &policy.Pod{
		Namespace: namespace, Name: app + "-0", UID: app, Labels: own, ServiceAccount: account, Owners: []string{"ReplicaSet/" + app + "-1", "Deployment/" + app},
	}}}}
}

// bind and connect are those of a socket; of a file and a program file and program.
type (
	bind    struct{ policy.Socket }
	connect struct{ policy.Socket }
)

func socket(address string, port uint16, protocol policy.Protocol) policy.Socket {
	return policy.Socket{Address: netip.MustParseAddr(address), Port: port, Protocol: protocol}
}

func file(access policy.Access, path string) policy.File {
	return policy.File{Names: policy.Names{Path: path}, Access: access}
}

func program(path string) policy.Program {
	return policy.Program{Names: policy.Names{Path: path}, Fileless: path == ""}
}

var (
	node   = policy.Process{Binary: "/usr/sbin/sshd"}
	web    = in("shop", "web", "default", "/usr/sbin/nginx")
	db     = in("data", "db", "db", "/usr/bin/postgres")
	system = in("kube-system", "csi", "default", "/csi")
	caught = in("shop", "caught", "default", "/usr/sbin/nginx", "ebpfguard.io/quarantine")
	// unknown is in a pod of which the API server has not told yet.
	unknown = func() policy.Process {
		p := in("data", "new", "", "/new")
		p.Containers[0].Pod.Owners, p.Containers[0].Pod.Partial = nil, true
		return p
	}()
)

var recipes = map[string][]attempt{
	"no-rogue-sshd.yaml": {
		{web, bind{socket("0.0.0.0", 22, policy.TCP)}, policy.Deny},
		{system, bind{socket("::", 22, policy.TCP)}, policy.Deny},
		{unknown, bind{socket("::", 22, policy.TCP)}, policy.Deny},
		{web, bind{socket("0.0.0.0", 2222, policy.TCP)}, policy.Allow},
		{web, bind{socket("0.0.0.0", 80, policy.TCP)}, policy.Allow},
		{node, bind{socket("0.0.0.0", 22, policy.TCP)}, policy.Allow},
	},
	"freeze-deployment.yaml": {
		{web, file(policy.Write, "/etc/nginx/nginx.conf"), policy.Deny},
		{web, file(policy.Write, "/usr/bin/new"), policy.Deny},
		{web, file(policy.Write, "/lib64/ld-linux-x86-64.so.2"), policy.Deny},
		{web, file(policy.Read, "/etc/nginx/nginx.conf"), policy.Allow},
		{web, file(policy.Exec, "/usr/bin/ls"), policy.Allow},
		{web, file(policy.Write, "/tmp/new"), policy.Allow},
		{caught, file(policy.Write, "/etc/passwd"), policy.Allow}, // another deployment
		{db, file(policy.Write, "/etc/passwd"), policy.Allow},
		{node, file(policy.Write, "/etc/resolv.conf"), policy.Allow},
	},
	"egress.yaml": {
		{web, connect{socket("192.0.2.1", 443, policy.TCP)}, policy.Deny},
		{web, connect{socket("169.254.169.254", 80, policy.TCP)}, policy.Deny},
		{web, connect{socket("2001:db8::1", 53, policy.UDP)}, policy.Deny},
		{web, connect{socket("192.0.2.1", 0, policy.Raw)}, policy.Deny},
		{web, connect{socket("10.96.0.10", 53, policy.UDP)}, policy.Allow},
		{web, connect{socket("127.0.0.1", 8080, policy.TCP)}, policy.Allow},
		{web, connect{socket("203.0.113.7", 443, policy.TCP)}, policy.Allow},
		{web, connect{socket("203.0.113.7", 80, policy.TCP)}, policy.Deny},
		{web, connect{socket("2001:db8:1::7", 443, policy.TCP)}, policy.Allow},
		{db, connect{socket("192.0.2.1", 443, policy.TCP)}, policy.Allow},
		{node, connect{socket("192.0.2.1", 443, policy.TCP)}, policy.Allow},
	},
	"no-shells.yaml": {
		{web, program("/bin/sh"), policy.Deny},
		{web, program("/usr/bin/bash"), policy.Deny},
		{web, program("/opt/tools/dash"), policy.Deny},
		{web, program("/bin/busybox"), policy.Deny},
		{web, program("/usr/sbin/nginx"), policy.Allow},
		{web, program("/usr/bin/cat"), policy.Allow},
		{web, program("/usr/bin/sha256sum"), policy.Allow},
		{db, program("/bin/sh"), policy.Allow},
		{node, program("/bin/sh"), policy.Allow},
	},
	"no-service-account-token.yaml": {
		{web, file(policy.Read, "/run/secrets/kubernetes.io/serviceaccount/..2026/token"), policy.Deny},
		{web, file(policy.Read, "/var/run/secrets/kubernetes.io/serviceaccount/token"), policy.Deny},
		{unknown, file(policy.Read, "/run/secrets/kubernetes.io/serviceaccount/token"), policy.Deny},
		{web, file(policy.Read, "/run/secrets/tokens/vault"), policy.Allow},
		{db, file(policy.Read, "/run/secrets/kubernetes.io/serviceaccount/token"), policy.Allow},
		{system, file(policy.Read, "/run/secrets/kubernetes.io/serviceaccount/token"), policy.Allow},
		{node, file(policy.Read, "/var/run/secrets/kubernetes.io/serviceaccount/token"), policy.Allow},
	},
	"no-metadata-service.yaml": {
		{web, connect{socket("169.254.169.254", 80, policy.TCP)}, policy.Deny},
		{db, connect{socket("fd00:ec2::254", 80, policy.TCP)}, policy.Deny},
		{unknown, connect{socket("169.254.169.254", 80, policy.TCP)}, policy.Deny},
		{web, connect{socket("169.254.169.253", 53, policy.UDP)}, policy.Allow},
		{system, connect{socket("169.254.169.254", 80, policy.TCP)}, policy.Allow},
		{node, connect{socket("169.254.169.254", 80, policy.TCP)}, policy.Allow},
	},
	"quarantine.yaml": {
		{caught, connect{socket("10.0.0.1", 443, policy.TCP)}, policy.Deny},
		{caught, connect{socket("127.0.0.1", 80, policy.TCP)}, policy.Deny},
		{caught, bind{socket("0.0.0.0", 4444, policy.TCP)}, policy.Deny},
		{caught, program("/bin/sh"), policy.Deny},
		{caught, file(policy.Read, "/etc/passwd"), policy.Allow},
		{web, connect{socket("10.0.0.1", 443, policy.TCP)}, policy.Allow},
		{web, bind{socket("0.0.0.0", 80, policy.TCP)}, policy.Allow},
		{web, program("/bin/sh"), policy.Allow},
		{node, program("/bin/sh"), policy.Allow},
	},
	"roll-out.yaml": {
		{web, program("/tmp/x"), policy.Audit},
		{web, program(""), policy.Audit},
		{web, program("/usr/bin/x"), policy.Allow},
		{system, program("/tmp/x"), policy.Allow},
		{node, program("/tmp/x"), policy.Allow},
	},
}

// TestRecipes holds the recipes of examples/kubernetes against what their comments say.
func TestRecipes(t *testing.T) {
	files, err := filepath.Glob("../../examples/kubernetes/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(recipes) {
		t.Errorf("%d files for %d recipes: %v", len(files), len(recipes), files)
	}
	for name, attempts := range recipes {
		t.Run(name, func(t *testing.T) {
			decide(t, recipe(t, name, nil), attempts)
		})
	}
	t.Run("roll-out.yaml on a node with the label", func(t *testing.T) {
		attempts := []attempt{
			{web, program("/tmp/x"), policy.Deny},
			{web, program(""), policy.Deny},
			{web, program("/usr/bin/x"), policy.Allow},
			{system, program("/tmp/x"), policy.Allow},
		}
		decide(t, recipe(t, "roll-out.yaml", labels.Set{"ebpfguard.io/enforce": "true"}), attempts)
	})
}

func decide(t *testing.T, set []policy.Policy, attempts []attempt) {
	t.Helper()
	for _, warning := range policy.Warnings(set) {
		t.Error(warning)
	}
	for _, a := range attempts {
		request := policy.Request{Process: a.by}
		switch object := a.object.(type) {
		case bind:
			request.Operation, request.Object = policy.SocketBind, object.Socket
		case connect:
			request.Operation, request.Object = policy.SocketConnect, object.Socket
		case policy.File:
			request.Operation, request.Object = policy.FileOpen, object
		case policy.Program:
			request.Operation, request.Object = policy.BprmCheckSecurity, object
		}
		if got := policy.Decide(set, request); got.Verdict != a.want {
			t.Errorf("want %v:\n%v", a.want, policy.Explain(set, request))
		}
	}
}

// recipe returns the policies of a recipe as a node has them. Those of a namespace are applied to shop.
func recipe(t *testing.T, name string, node labels.Set) []policy.Policy {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../examples/kubernetes", name))
	if err != nil {
		t.Fatal(err)
	}
	namespaces := map[string]labels.Set{}
	for _, name := range []string{"shop", "data", "kube-system"} {
		namespaces[name] = labels.Set{"kubernetes.io/metadata.name": name}
	}
	var set []policy.Policy
	documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		var kind metav1.TypeMeta
		if err := sigsyaml.Unmarshal(document, &kind); err != nil {
			t.Fatal(err)
		}
		var p policy.Policy
		concerned := true
		if kind.Kind == "Policy" {
			object := read[v1alpha1.Policy](t, string(document))
			object.Namespace = "shop"
			p, err = Convert(&object)
		} else {
			object := read[v1alpha1.ClusterPolicy](t, string(document))
			p, concerned, err = ConvertCluster(&object, node, namespaces)
		}
		if err != nil {
			t.Fatal(err)
		}
		if concerned {
			set = append(set, p)
		}
	}
	if err := policy.Validate(set); err != nil || len(set) == 0 {
		t.Fatalf("%d policies: %v", len(set), err)
	}
	return set
}
