// Package chart renders the Helm chart as Helm does, and the plain manifests from it.
package chart

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	release "helm.sh/helm/v4/pkg/release/v1"
	releaseutil "helm.sh/helm/v4/pkg/release/v1/util"
)

// Folder is the chart's, below the root of the repository.
const Folder = "deploy/helm/ebpfguard"

// Name and Namespace are those of the release that the plain manifests come from.
const (
	Name      = "ebpfguard"
	Namespace = "ebpfguard"
)

// Rendered is what Helm makes of the chart.
type Rendered struct {
	// Manifests are YAML documents in the order in which Helm installs them.
	Manifests []string
	// Hooks are what it runs beside, in their order.
	Hooks []*release.Hook
	Notes string
}

// Render renders the chart of a repository with values over the chart's own.
func Render(root string, values map[string]any) (Rendered, error) {
	c, err := loader.LoadDir(filepath.Join(root, Folder))
	if err != nil {
		return Rendered{}, fmt.Errorf("load the chart: %w", err)
	}
	caps := *common.DefaultCapabilities
	caps.KubeVersion = common.KubeVersion{Version: "v1.37.2", Major: "1", Minor: "37"}
	all, err := util.ToRenderValues(c, values, common.ReleaseOptions{Name: Name, Namespace: Namespace, Revision: 1, IsInstall: true}, &caps)
	if err != nil {
		return Rendered{}, err
	}
	files, err := engine.Render(c, all)
	if err != nil {
		return Rendered{}, err
	}
	var r Rendered
	for name, text := range files {
		if path.Base(name) == "NOTES.txt" {
			r.Notes = text
			delete(files, name)
		}
	}
	hooks, manifests, err := releaseutil.SortManifests(files, nil, releaseutil.InstallOrder)
	if err != nil {
		return Rendered{}, fmt.Errorf("read what the chart renders: %w", err)
	}
	slices.SortStableFunc(hooks, func(a, b *release.Hook) int { return a.Weight - b.Weight })
	r.Hooks = hooks
	for _, m := range manifests {
		r.Manifests = append(r.Manifests, strings.TrimSpace(m.Content)+"\n")
	}
	return r, nil
}
