package vmtest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestReadReport(t *testing.T) {
	for name, c := range map[string]struct {
		port           string
		started, ended bool
		failure        string
	}{
		"nothing":                  {"", false, false, ""},
		"started":                  {"started\n", true, false, ""},
		"started in part":          {"star", true, false, ""},
		"ended":                    {"started\n{}\n", true, true, ""},
		"ended in part":            {"started\n{\"Files\":", true, false, ""},
		"ended without the start":  {"{\"Error\":\"load module\"}\n", false, true, "load module"},
		"firmware's noise instead": {"\x00\x1b[2J", false, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "status")
			if err := os.WriteFile(path, []byte(c.port), 0o600); err != nil {
				t.Fatal(err)
			}
			r := readReport(path)
			if r.started != c.started || r.ended != c.ended || r.status.Error != c.failure {
				t.Errorf("report %+v, want %+v", r, c)
			}
			if errors.Is(r.err, ErrNoStatus) == c.ended {
				t.Errorf("error %v", r.err)
			}
		})
	}
	if r := readReport(filepath.Join(t.TempDir(), "none")); r.started || !errors.Is(r.err, ErrNoStatus) {
		t.Errorf("report of no file: %+v", r)
	}
}

func TestBootAgain(t *testing.T) {
	for name, c := range map[string]struct {
		report report
		boots  int
		gone   error
		want   bool
	}{
		"panicked while booting":       {report{}, 1, nil, true},
		"hung while booting":           {report{}, 2, errBootHung, true},
		"failed three times":           {report{}, maxBoots, nil, false},
		"panicked in the test":         {report{started: true}, 1, nil, false},
		"ended well":                   {report{started: true, ended: true}, 1, nil, false},
		"could not load a module":      {report{ended: true}, 1, nil, false},
		"the tests' time is over":      {report{}, 1, context.DeadlineExceeded, false},
		"interrupted":                  {report{}, 1, context.Canceled, false},
		"QEMU does not know the model": {report{}, 1, errors.New("exit status 1"), false},
	} {
		t.Run(name, func(t *testing.T) {
			why, got := c.report.again(c.boots, c.gone)
			if got != c.want || got != (why != "") {
				t.Errorf("%v, because %q; want %v", got, why, c.want)
			}
		})
	}
}
