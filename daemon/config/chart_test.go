package config

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestChart asserts that a daemon takes the configuration that the Helm chart makes, and that the chart's values allow
// only keys that there are.
func TestChart(t *testing.T) {
	manifests, err := os.ReadFile("../../deploy/kubernetes/install.yaml")
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for text := range strings.SplitSeq(string(manifests), "\n---\n") {
		var object struct {
			Kind     string
			Metadata struct{ Name string }
			Data     map[string]string
		}
		if err := yaml.Unmarshal([]byte(text), &object); err != nil {
			t.Fatal(err)
		}
		if object.Kind != "ConfigMap" || object.Metadata.Name != "ebpfguard" {
			continue
		}
		found = true
		c, err := Parse("config.yaml", []byte(object.Data["config.yaml"]))
		if err != nil {
			t.Fatal(err)
		}
		if !c.Kubernetes || c.OnExit != Keep || c.Policies != "" || c.Pins != Default().Pins || c.State != Default().State || c.Socket != Default().Socket {
			t.Errorf("%+v", c)
		}
	}
	if !found {
		t.Error("the manifests have no configuration")
	}

	schema, err := os.ReadFile("../../deploy/helm/ebpfguard/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var values struct {
		Properties struct {
			Config struct{ Properties map[string]any }
		}
	}
	if err := json.Unmarshal(schema, &values); err != nil {
		t.Fatal(err)
	}
	c := Default()
	flags := c.Flags()
	for key := range values.Properties.Config.Properties {
		if flags.Lookup(strings.ReplaceAll(key, "_", "-")) == nil {
			t.Errorf("values.schema.json allows config.%s, which is no key of the configuration", key)
		}
	}
	if n := len(values.Properties.Config.Properties); n < 8 {
		t.Errorf("it allows %d keys only", n)
	}
}
