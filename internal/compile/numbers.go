package compile

import (
	"math"

	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/policy"
)

// prepareNumbers is for patterns of which each key is a number: the key of an index
// has the interval table of that index.
func (c *compiler) prepareNumbers(name policy.Operation, entries []entry) (finish, error) {
	keys := policy.Everything(name).(policy.NumberPattern).Numbers()
	dimensions := make([]dimension, len(keys))
	found := make([]intervals, len(keys))
	for key := range keys {
		ranges := spans{greatest: small(math.MaxUint32)}
		for i := range entries {
			numbers := entries[i].pattern.(policy.NumberPattern).Numbers()[key]
			entries[i].names(key, numbers.Named)
			for _, r := range numbers.Ranges {
				// The greatest number stands for none: what changes no user
				// has it as the user after.
				last := min(r.Last, abi.NoID-1)
				if r.First <= last {
					ranges.add(small(r.First), small(last), term{int32(i), policy.IDSpecificity(r)})
				}
			}
		}
		d := newDimension(keys[key].Kinds)
		found[key] = ranges.sweep(d.columns, d.sweeper())
		dimensions[key] = d
	}
	return func(uint32) (*operation, error) {
		o := &operation{name: name, entries: entries, dimensions: dimensions}
		for key := range found {
			o.tables.Tables[key] = c.tables.appendIntervals(found[key])
		}
		return o, nil
	}, nil
}
