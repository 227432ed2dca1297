package policy

// maxObjects bounds the objects that stand for all others.
const maxObjects = 100_000

// objectsFor returns literal objects of the operation such that each one is
// selected by exactly the same patterns as one of them. It returns nil if that
// is too many or too hard, as it is with globs.
func objectsFor(set []Policy, o Operation) []Object {
	var all []Pattern
	for _, p := range set {
		for _, rule := range p.Rules {
			if rule.Operation == o {
				all = append(append(all, rule.Allow...), rule.Deny...)
			}
		}
	}
	switch o {
	case FileOpen:
		names := nameRepresentatives(all)
		return product(len(names), func(i int) []Object {
			var files []Object
			for _, access := range AllAccess.each() {
				files = append(files, File{names[i], access})
			}
			return files
		})
	case BprmCheckSecurity:
		names := nameRepresentatives(all)
		return product(len(names), func(i int) []Object {
			var programs []Object
			for _, fileless := range []bool{false, true} {
				for _, noArgs := range []bool{false, true} {
					programs = append(programs, Program{names[i], fileless, noArgs})
				}
			}
			return programs
		})
	case SbMount, SbRemount, SbUmount:
		return mountObjects(all)
	case TaskFixSetuid:
		return credentialsObjects(all)
	case SocketBind, SocketConnect:
		return socketObjects(all)
	}
	return nil
}

// product returns what f returns for each index, nil if that is too much.
func product(n int, f func(i int) []Object) []Object {
	var objects []Object
	for i := range n {
		objects = append(objects, f(i)...)
		if len(objects) > maxObjects {
			return nil
		}
	}
	return objects
}
