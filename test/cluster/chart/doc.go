// Package chart has a real API server take the manifests of deploy/, and what the Helm chart renders with other values.
// What needs no API server is tested in test/chart, which renders the chart.
package chart
