package vmtest

import (
	"regexp"
	"testing"
)

func TestCompareVersions(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"5.10.0-9", "5.10.0-46", -1},
		{"6.12.90+deb13.1", "6.12.90+deb13", 1},
		{"6.12.100+deb13", "6.12.96+deb13", 1},
		{"7.3.4+deb13", "7.10.1+deb13", -1},
		{"1.0~rc1", "1.0", -1},
		{"1.0", "1.0", 0},
		{"1.00", "1.0", 0},
		{"1.0a", "1.0+", -1},
	} {
		if got := compareVersions(c.a, c.b); got != c.want {
			t.Errorf("compareVersions(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
		if got := compareVersions(c.b, c.a); got != -c.want {
			t.Errorf("compareVersions(%q, %q) = %d, want %d", c.b, c.a, got, -c.want)
		}
	}
}

func TestNewest(t *testing.T) {
	names := []string{
		"linux-image-6.12.100+deb13-cloud-amd64",
		"linux-image-6.12.96+deb13-cloud-amd64",
		"linux-image-6.12.117+deb13-cloud-amd64-unsigned",
		"linux-image-6.12.118+deb12-cloud-amd64",
		"linux-image-6.12.118+deb13-amd64",
		"linux-image-7.2.12+deb13-cloud-amd64",
		"linux-image-7.10.1+deb13-cloud-amd64",
		"linux-image-5.10.0-9-cloud-amd64",
		"linux-image-5.10.0-46-cloud-amd64",
		"linux-image-5.10.0-47-cloud-amd64-dbg",
		"linux-image-6.1.0-56-cloud-amd64",
		"linux-image-6.1.0-0.deb11.99-cloud-amd64",
		"linux-image-6.18.15+deb13-cloud-amd64",
	}
	want := map[string]string{
		"5.10":       "linux-image-5.10.0-46-cloud-amd64",
		"6.1":        "linux-image-6.1.0-56-cloud-amd64",
		"6.12":       "linux-image-6.12.100+deb13-cloud-amd64",
		"6.18":       "linux-image-6.18.15+deb13-cloud-amd64",
		"7":          "linux-image-7.10.1+deb13-cloud-amd64",
		"6.12-nobpf": "linux-image-6.12.100+deb13-cloud-amd64",
	}
	for _, k := range Kernels {
		if got := newest(names, regexp.MustCompile(k.Package)); got != want[k.Name] {
			t.Errorf("kernel %s: newest is %q, want %q", k.Name, got, want[k.Name])
		}
	}
	if got := newest(nil, regexp.MustCompile("x")); got != "" {
		t.Errorf("newest of nothing is %q", got)
	}
}
