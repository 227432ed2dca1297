// Package helm is Helm, which the tests install the chart with: see go.mod.
package helm
