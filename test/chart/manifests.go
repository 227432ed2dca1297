package chart

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

// copies are the chart's copies of files of the repository: a chart is packed without what is around it.
var copies = map[string]string{
	Folder + "/files/ebpfguard.rules.yaml": "deploy/prometheus/ebpfguard.rules.yaml",
	Folder + "/files/ebpfguard.json":       "deploy/grafana/ebpfguard.json",
}

const header = "# Made of the Helm chart in deploy/helm/ebpfguard with its own values. To change it change the chart, and run\n" +
	"# `make chart`.\n"

// Generated returns the files that are made of others, by their paths in the repository.
func Generated(root string) (map[string][]byte, error) {
	files := map[string][]byte{}
	for to, from := range copies {
		data, err := os.ReadFile(filepath.Join(root, from))
		if err != nil {
			return nil, err
		}
		files[to] = data
	}
	// Without Helm nobody makes the namespace.
	r, err := Render(root, map[string]any{"namespace": map[string]any{"create": true}})
	if err != nil {
		return nil, err
	}
	install, err := plain(r.Manifests)
	if err != nil {
		return nil, err
	}
	files["deploy/kubernetes/install.yaml"] = install
	for _, hook := range r.Hooks {
		if hook.Kind != "DaemonSet" {
			continue // kubectl rollout status waits for that
		}
		if files["deploy/kubernetes/cleanup.yaml"], err = plain([]string{hook.Manifest}); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// plain joins manifests, without what only Helm reads.
func plain(manifests []string) ([]byte, error) {
	all := bytes.NewBufferString(header)
	for _, text := range manifests {
		lines := strings.SplitAfter(text, "\n")
		var kept []string
		for _, line := range lines {
			key := strings.TrimSpace(line)
			if strings.HasPrefix(key, "helm.sh/") || strings.HasPrefix(key, "app.kubernetes.io/managed-by:") || strings.HasPrefix(key, "# Source:") {
				continue
			}
			kept = append(kept, line)
		}
		text = strings.TrimSpace(strings.ReplaceAll(strings.Join(kept, ""), "  annotations:\nspec:", "spec:")) + "\n"
		var object map[string]any
		if err := yaml.UnmarshalStrict([]byte(text), &object); err != nil {
			return nil, fmt.Errorf("a plain manifest is no YAML: %w", err)
		}
		fmt.Fprintf(all, "---\n%s", text)
	}
	return all.Bytes(), nil
}

// Write writes the files that are made of others.
func Write(root string) error {
	// The copies are part of the chart, so they come first: what is rendered does not have them by default.
	files, err := Generated(root)
	if err != nil {
		return err
	}
	var errs []error
	for name, data := range files {
		to := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, os.WriteFile(to, data, 0o644))
	}
	return errors.Join(errs...)
}
