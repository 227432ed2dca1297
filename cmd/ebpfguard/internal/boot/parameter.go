package boot

import (
	"regexp"
	"slices"
	"strings"
)

var (
	assignment = regexp.MustCompile(`(^|\s)lsm=(\S*)`)
	moduleList = regexp.MustCompile(`^[A-Za-z0-9_-]+(,[A-Za-z0-9_-]+)*$`)
)

// parameter returns the value of lsm= on a kernel command line. Of several the kernel takes the last.
func parameter(cmdline string) (list string, set bool) {
	all := assignment.FindAllStringSubmatch(cmdline, -1)
	if all == nil {
		return "", false
	}
	return all[len(all)-1][2], true
}

// namesBPF reports whether the value of lsm= on the command line has bpf.
func namesBPF(cmdline string) bool {
	list, _ := parameter(cmdline)
	return slices.Contains(strings.Split(list, ","), "bpf")
}

// withParameter returns the command line with this value of lsm=: at the place of the last one, or at the
// end.
func withParameter(cmdline, list string) string {
	all := assignment.FindAllStringSubmatchIndex(cmdline, -1)
	if all == nil {
		text := strings.TrimRight(cmdline, " \t\n")
		return strings.TrimLeft(text+" ", " ") + "lsm=" + list + cmdline[len(text):]
	}
	last := all[len(all)-1]
	return cmdline[:last[4]] + list + cmdline[last[5]:]
}

// withoutParameter returns the command line without the lsm= that has this value.
func withoutParameter(cmdline, list string) string {
	return strings.TrimLeft(regexp.MustCompile(`(^|[ \t]+)lsm=`+regexp.QuoteMeta(list)+`(\s|$)`).ReplaceAllString(cmdline, "$2"), " \t")
}
