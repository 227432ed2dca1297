package compile

import (
	"math"

	"github.com/ebpfguard/ebpfguard/internal/abi"
	"github.com/ebpfguard/ebpfguard/policy"
)

// idKeys are the keys of a change of identity, in their order.
var idKeys = [4]struct {
	table int
	kinds string
	ids   func(policy.CredentialsPattern) policy.IDs
}{
	{abi.TableFromUIDs, "users before", func(p policy.CredentialsPattern) policy.IDs { return p.From.UIDs }},
	{abi.TableFromGIDs, "groups before", func(p policy.CredentialsPattern) policy.IDs { return p.From.GIDs }},
	{abi.TableToUIDs, "users after", func(p policy.CredentialsPattern) policy.IDs { return p.To.UIDs }},
	{abi.TableToGIDs, "groups after", func(p policy.CredentialsPattern) policy.IDs { return p.To.GIDs }},
}

// prepareCredentials is for task_fix_setuid: user and group before and after.
func (c *compiler) prepareCredentials(name policy.Operation, entries []entry) (finish, error) {
	dimensions := make([]dimension, len(idKeys))
	var found [4]intervals
	for key, k := range idKeys {
		ranges := spans{greatest: small(math.MaxUint32)}
		for i := range entries {
			ids := k.ids(entries[i].pattern.(policy.CredentialsPattern))
			entries[i].names(key, len(ids.Ranges)+len(ids.Names) > 0)
			for _, r := range ids.Ranges {
				// The number after is no id: what changes no user has
				// it as the user after.
				last := min(r.Last, policy.MaxID)
				if r.First <= last {
					ranges.add(small(r.First), small(last), term{int32(i), policy.IDSpecificity(r)})
				}
			}
		}
		d := newDimension(k.kinds)
		found[key] = ranges.sweep(d.columns, d.sweeper())
		dimensions[key] = d
	}
	return func(uint32) (*operation, error) {
		o := &operation{name: name, entries: entries, dimensions: dimensions}
		for key, k := range idKeys {
			o.tables.Tables[k.table] = c.tables.appendIntervals(found[key])
		}
		return o, nil
	}, nil
}
