package policy

import (
	"reflect"
	"slices"
)

// Clone returns a copy of the policies that shares no memory that could be written
// with them.
func Clone(set []Policy) []Policy {
	return deepCopy(reflect.ValueOf(set)).Interface().([]Policy)
}

// deepCopy copies what is reached through slices and interfaces. It needs no list
// of fields, so a field that is new is copied too.
func deepCopy(v reflect.Value) reflect.Value {
	switch v.Kind() {
	case reflect.Slice:
		if v.IsNil() {
			return v
		}
		to := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		reflect.Copy(to, v)
		if shares(v.Type().Elem()) {
			for i := range v.Len() {
				to.Index(i).Set(deepCopy(v.Index(i)))
			}
		}
		return to
	case reflect.Struct:
		to := reflect.New(v.Type()).Elem()
		to.Set(v)
		for i, f := range slices.Collect(v.Type().Fields()) {
			if shares(f.Type) {
				to.Field(i).Set(deepCopy(v.Field(i)))
			}
		}
		return to
	case reflect.Interface:
		if !v.IsNil() {
			return deepCopy(v.Elem())
		}
	}
	return v
}

// shares reports whether copies of a value of the type share memory. What has
// fields that only its own package can set cannot be written through a copy, such
// as [net/netip.Prefix].
func shares(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Slice, reflect.Interface:
		return true
	case reflect.Struct:
		return !slices.ContainsFunc(slices.Collect(t.Fields()), func(f reflect.StructField) bool { return !f.IsExported() }) &&
			slices.ContainsFunc(slices.Collect(t.Fields()), func(f reflect.StructField) bool { return shares(f.Type) })
	case reflect.Pointer, reflect.Map:
		panic("policy: the model has a " + t.String() + ", which Clone does not copy")
	}
	return false
}
