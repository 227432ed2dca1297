package main

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ebpfguard/ebpfguard/internal/duration"
)

// explainFlag says what is wrong with a flag in words for its user: pflag repeats what the
// function said that parses it.
func explainFlag(_ *cobra.Command, err error) error {
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &invalid) {
		return err
	}
	what := invalid.Unwrap().Error()
	switch invalid.GetFlag().Value.Type() {
	case "uint32":
		what = "write a number from 0 to 4294967295"
	case "uint64", "int":
		what = "write a whole number"
	case "bool":
		what = "write true or false"
	case "duration":
		what = "write numbers with units, such as 500ms, 90s, 10m or 2h"
	}
	if words := choices(invalid.GetFlag()); words != nil {
		last := len(words) - 1
		what = fmt.Sprintf("choose %s or %s", strings.Join(words[:last], ", "), words[last])
	}
	return usagef("--%s %q: %s", invalid.GetFlag().Name, invalid.GetValue(), what)
}

// lasting is the value of a flag that may be some days.
type lasting time.Duration

var days = regexp.MustCompile(`^(\d{1,5})d(.*)$`)

// Set implements pflag.Value.
func (d *lasting) Set(s string) error {
	var whole time.Duration
	rest := s
	if m := days.FindStringSubmatch(s); m != nil {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			return err
		}
		whole, rest = time.Duration(n)*24*time.Hour, m[2]
	}
	if rest != "" || whole == 0 {
		part, err := time.ParseDuration(rest)
		if err != nil || whole > 0 && part < 0 {
			return fmt.Errorf("write numbers with units, such as 90s, 10m, 2h or 7d")
		}
		whole += part
	}
	*d = lasting(whole)
	return nil
}

// String implements pflag.Value.
func (d *lasting) String() string {
	if *d == 0 {
		return ""
	}
	return duration.Text(time.Duration(*d))
}

// Type implements pflag.Value.
func (d *lasting) Type() string { return "days" }
