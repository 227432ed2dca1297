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
	return find(o).representatives(all)
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
