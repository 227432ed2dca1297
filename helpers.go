package ebpfguard

import (
	"errors"
	"fmt"
	"time"

	"github.com/ebpfguard/ebpfguard/internal/procfs"
	"github.com/ebpfguard/ebpfguard/policy"
)

// longestPolicy is how far away the end of a policy is at most: more is a mistake in the unit or the
// clock, such as the time since 1970.
const longestPolicy = 10 * 365 * 24 * time.Hour

// EndsAt returns the [Rule.Until] of a policy that ends at a time. A time that has passed, or is more
// than ten years away, is an error.
func EndsAt(end time.Time) (uint64, error) { return EndsIn(time.Until(end)) }

// EndsIn returns the [Rule.Until] of a policy that ends after a time, counted from now.
func EndsIn(lasting time.Duration) (uint64, error) {
	now, err := procfs.BootTime()
	if err != nil {
		return 0, err
	}
	until := now + uint64(lasting)
	if lasting <= 0 {
		until = now
	}
	return until, checkUntil(until, now)
}

// checkUntil refuses an end that has passed or is absurd.
func checkUntil(until, now uint64) error {
	switch {
	case until == 0:
		return nil
	case until <= now:
		return errors.New("the policy's Until has passed, so it would never be in force; use EndsIn or EndsAt with a time to come")
	case until-now > uint64(longestPolicy):
		return fmt.Errorf("the policy's Until is %d years away; it counts nanoseconds since the machine was started (Boottime), use EndsIn or EndsAt", (until-now)/uint64(365*24*time.Hour))
	}
	return nil
}

// checkAdded returns what is wrong with a policy in the words of who writes Go.
func checkAdded(p policy.Policy) error {
	if p.Until != 0 {
		now, err := procfs.BootTime()
		if err == nil {
			err = checkUntil(p.Until, now)
		}
		if err != nil {
			return err
		}
	}
	for _, r := range p.Rules {
		for _, patterns := range [][]policy.Pattern{r.Allow, r.Deny} {
			for _, pattern := range patterns {
				if err := checkNamed(pattern); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// checkNamed refuses patterns that name nothing, which are those of functions without arguments.
func checkNamed(pattern policy.Pattern) error {
	nothing := func(some, all string) error {
		return fmt.Errorf("a pattern names nothing; give %s() a value, or use %s() to select everything", some, all)
	}
	switch p := pattern.(type) {
	case policy.FilePattern:
		if !p.All && len(p.Paths) == 0 && p.Access == 0 {
			return nothing("Files", "AllFiles")
		}
	case policy.ProgramPattern:
		if !p.All && len(p.Paths) == 0 && !p.Fileless && !p.NoArgs {
			return nothing("Programs", "AllPrograms")
		}
	case policy.MountPattern:
		if p.String() == (policy.MountPattern{}).String() {
			return nothing("Mounts", "AllMounts")
		}
	case policy.SocketPattern:
		if p.String() == (policy.SocketPattern{}).String() {
			return nothing("Ports", "AllPorts")
		}
	}
	return nil
}

// Users selects the processes with one of these real users, by name. Names are found when the policy is
// added, as /etc/passwd has them.
func Users(names ...string) Subject { return Subject{Users: policy.IDs{Names: names}} }

// UIDs selects the processes with one of these real user ids.
func UIDs(ids ...uint32) Subject {
	var s Subject
	for _, id := range ids {
		s.Users.Ranges = append(s.Users.Ranges, policy.IDRange{First: id, Last: id})
	}
	return s
}

// Cgroups selects the processes that were started in one of these control groups or below, each a path
// such as /system.slice/nginx.service.
func Cgroups(paths ...string) Subject { return Subject{Cgroups: paths} }

// ReadingFiles is [Files] for reading only, WritingFiles for every change, ExecutingFiles for executing.
func ReadingFiles(paths ...string) []policy.FilePattern { return filesFor(policy.Read, paths) }

// WritingFiles is [Files] for every change: of what is in the file, of its attributes and its name.
func WritingFiles(paths ...string) []policy.FilePattern { return filesFor(policy.Write, paths) }

// ExecutingFiles is [Files] for executing and mapping as code.
func ExecutingFiles(paths ...string) []policy.FilePattern { return filesFor(policy.Exec, paths) }

func filesFor(access policy.Access, paths []string) []policy.FilePattern {
	return []policy.FilePattern{{Paths: paths, Access: access}}
}

// Containers selects what is in a container that one of the selectors selects, wherever it goes; without
// any, what is in a container at all.
func Containers(selectors ...policy.ContainerSelector) Subject {
	if len(selectors) == 0 {
		selectors = []policy.ContainerSelector{{}}
	}
	return Subject{Containers: selectors}
}

// Pods selects what is in a container of a Kubernetes pod that one of the selectors selects, wherever it goes;
// without any, what is in any pod.
func Pods(selectors ...policy.PodSelector) Subject {
	if len(selectors) == 0 {
		selectors = []policy.PodSelector{{}}
	}
	return Subject{Pods: selectors}
}

// Host selects what is in no container and never was.
func Host() Subject { return Subject{Host: true} }
