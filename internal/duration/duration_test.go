package duration

import (
	"math"
	"testing"
	"time"
)

func TestText(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", time.Second: "1s", 500 * time.Millisecond: "500ms", 1500 * time.Millisecond: "1.5s",
		8*time.Minute + 23*time.Second: "8m23s", 10 * time.Minute: "10m", 2 * time.Hour: "2h", 2*time.Hour + 5*time.Second: "2h5s",
		2400 * time.Hour: "100d", 30*day + time.Second: "30d1s", 36 * time.Hour: "1d12h", -90 * time.Second: "-1m30s",
		math.MinInt64: "-106751d23h47m16.854775807s",
	} {
		if got := Text(d); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
}

func TestRough(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 59 * time.Second: "59s", 599_600 * time.Millisecond: "10m", 90 * time.Second: "1m30s",
		8*time.Minute + 23*time.Second + 651339578: "8m24s", 8*time.Minute + 23*time.Second + 351339578: "8m23s",
		3*time.Hour + 12*time.Minute + 30*time.Second: "3h12m", 49 * time.Hour: "2d1h", 100*day + time.Minute: "100d",
	} {
		if got := Rough(d); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
}
