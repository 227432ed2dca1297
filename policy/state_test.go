package policy_test

import (
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ebpfguard/ebpfguard/internal/policytest"
	"github.com/ebpfguard/ebpfguard/policy"
)

var comparePrefixes = cmpopts.EquateComparable(netip.Prefix{})

func roundTrip(t *testing.T, set []policy.Policy) {
	t.Helper()
	data, err := policy.EncodeState(set)
	if err != nil {
		t.Fatal(err)
	}
	got, err := policy.DecodeState(data)
	if err != nil {
		t.Fatalf("%s\n%v", data, err)
	}
	if diff := cmp.Diff(set, got, comparePrefixes, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s\n%s", data, diff)
	}
}

func TestStateRoundTrips(t *testing.T) {
	t.Parallel()
	eachSet(t, 1_000, func(_ policytest.Random, set []policy.Policy) { roundTrip(t, set) })
}

// full returns a policy with rules of all operations, in which no field is zero.
func full(t *testing.T) policy.Policy {
	var p policy.Policy
	fill(t, reflect.ValueOf(&p).Elem())
	p.Rules = nil
	for _, o := range policy.Operations() {
		var r policy.Rule
		fill(t, reflect.ValueOf(&r).Elem())
		r.Operation = o
		pattern := reflect.New(reflect.TypeOf(policy.Everything(o))).Elem()
		fill(t, pattern)
		r.Allow = []policy.Pattern{pattern.Interface().(policy.Pattern)}
		r.Deny = []policy.Pattern{policy.Everything(o)}
		p.Rules = append(p.Rules, r)
	}
	return p
}

// fill sets every field to something else than zero.
func fill(t *testing.T, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[netip.Prefix]() {
			v.Set(reflect.ValueOf(netip.MustParsePrefix("2001:db8::/32")))
			return
		}
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		if v.Type().Elem().Kind() != reflect.Interface {
			fill(t, v.Index(0))
			fill(t, v.Index(1))
		}
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(2)
	default:
		t.Fatalf("fill does not know a %v", v.Type())
	}
}

func TestStateHoldsEveryField(t *testing.T) { roundTrip(t, []policy.Policy{full(t), full(t)}) }

// The keys are part of what later versions read, so each is chosen and none follows
// from the name of a field in Go.
func TestStateKeys(t *testing.T) {
	types := []reflect.Type{reflect.TypeFor[policy.Policy](), reflect.TypeFor[policy.Rule]()}
	for _, o := range policy.Operations() {
		types = append(types, reflect.TypeOf(policy.Everything(o)))
	}
	key := regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)
	seen := map[reflect.Type]bool{}
	for len(types) > 0 {
		next := types[0]
		types = types[1:]
		switch {
		case seen[next] || next == reflect.TypeFor[netip.Prefix]():
		case next.Kind() == reflect.Slice:
			types = append(types, next.Elem())
		case next.Kind() == reflect.Struct:
			for f := range next.Fields() {
				if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); !key.MatchString(name) {
					t.Errorf("field %s of %v has the key %q in the state; give it one in small letters by a tag", f.Name, next, name)
				}
				types = append(types, f.Type)
			}
		}
		seen[next] = true
	}
}

func TestStateStrict(t *testing.T) {
	for text, want := range map[string]string{
		`[{"name":"p","subject":{"everyone":true,"planets":["x"]}}]`:                                       `unknown field "planets"`,
		`[{"name":"p","subject":{},"rules":[{"operation":"socket_listen"}]}]`:                              `unknown operation "socket_listen"`,
		`[{"name":"p","subject":{},"rules":[{"operation":"file_open","deny":[{"ports":[]}]}]}]`:            `unknown field "ports"`,
		`[{"name":"p","mode":"learn","subject":{}}]`:                                                       `unknown policy.Mode "learn"`,
		`[{"name":"p","subject":{},"rules":[{"operation":"socket_bind","deny":[{"listed":"AAA="}]}]}]`:     "cut off",
		`[{"name":"p","subject":{},"rules":[{"operation":"socket_bind","deny":[{"listed":"KAAAAAA="}]}]}]`: "has no prefix of 40 bits",
		`[{"name":"p","subject":{}}] []`:                                                                   "more after",
		``:                                                                                                 "EOF",
	} {
		if set, err := policy.DecodeState([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v; want an error with %q", text, set, err, want)
		}
	}
}

func TestStateOfManyAddresses(t *testing.T) {
	var listed []netip.Prefix
	for i := range 300_000 {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		listed = append(listed, netip.PrefixFrom(a, 32))
	}
	listed = append(listed, netip.MustParsePrefix("::/0"), netip.MustParsePrefix("2001:db8::1/128"))
	set := []policy.Policy{{Name: "p", Rules: []policy.Rule{{
		Operation: policy.SocketConnect, Deny: []policy.Pattern{policy.SocketPattern{AddressesFrom: []string{"list"}, Listed: listed}},
	}}}}
	data, err := policy.EncodeState(set)
	if err != nil {
		t.Fatal(err)
	}
	if len(data) > 8*len(listed) {
		t.Errorf("%d addresses take %d bytes", len(listed), len(data))
	}
	got, err := policy.DecodeState(data)
	if err != nil || !slices.Equal(got[0].Rules[0].Deny[0].(policy.SocketPattern).Listed, listed) {
		t.Errorf("other addresses came back, or the error %v", err)
	}
}

func TestCloneSharesNothing(t *testing.T) {
	set, want := []policy.Policy{full(t)}, []policy.Policy{full(t)}
	scribble(reflect.ValueOf(policy.Clone(set)))
	if diff := cmp.Diff(want, set, comparePrefixes); diff != "" {
		t.Errorf("a change of the copy changed the original:\n%s", diff)
	}
	if diff := cmp.Diff(want, policy.Clone(set), comparePrefixes); diff != "" {
		t.Errorf("the copy is another:\n%s", diff)
	}
	if policy.Clone(nil) != nil {
		t.Error("the copy of nothing is something")
	}
}

// scribble overwrites all that is reached through slices and interfaces.
func scribble(v reflect.Value) {
	switch v.Kind() {
	case reflect.Slice:
		for i := range v.Len() {
			scribble(v.Index(i))
			v.Index(i).SetZero()
		}
	case reflect.Struct:
		for i, f := range slices.Collect(v.Type().Fields()) {
			if f.IsExported() {
				scribble(v.Field(i))
			}
		}
	case reflect.Interface:
		scribble(v.Elem())
	}
}
