package daemon

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/ebpfguard/ebpfguard"
	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/policy"
)

// filled sets all that can be set of a value, each number and text to another one. So a field that
// comes later is set too.
func filled(v reflect.Value, n *int) {
	*n++
	switch to := v.Addr().Interface().(type) {
	case *time.Time:
		*to = time.Date(2026, 11, 22, 15, 4, 5, *n, time.UTC)
		return
	case *netip.Addr:
		*to = netip.MustParseAddr("2001:db8::1%eth0")
		return
	case *policy.Verdict:
		*to = policy.Kill
		return
	case *policy.Severity:
		*to = policy.SeverityHigh
		return
	case *policy.Access:
		*to = policy.Read | policy.Exec
		return
	case *policy.MountFlags:
		*to = policy.AllMountFlags
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			filled(v.Field(i), n)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		filled(v.Elem(), n)
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		filled(key, n)
		filled(value, n)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			filled(v.Index(i), n)
		}
	case reflect.String: // with a byte that is no UTF-8, twice, and a control character
		v.SetString(fmt.Sprintf("text \xff\xff\n%d", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int:
		v.SetInt(int64(*n))
	default:
		v.SetUint(uint64(*n))
	}
}

// TestAlertMessage expects that the message has the keys and values of the JSON, for each operation,
// when all that an alert can have is set and when nothing is.
func TestAlertMessage(t *testing.T) {
	var seen []policy.Operation
	for _, zero := range []ebpfguard.Alert{
		ebpfguard.FileOpenAlert{}, ebpfguard.BprmCheckSecurityAlert{}, ebpfguard.SbMountAlert{}, ebpfguard.SbRemountAlert{},
		ebpfguard.SbUmountAlert{}, ebpfguard.TaskFixSetuidAlert{}, ebpfguard.SocketBindAlert{}, ebpfguard.SocketConnectAlert{},
	} {
		operation := policy.Operations()[len(seen)]
		seen = append(seen, operation)
		for _, full := range []bool{true, false} {
			v := reflect.New(reflect.TypeOf(zero)).Elem()
			if n := 0; full {
				filled(v, &n)
			}
			alert := v.Interface().(ebpfguard.Alert)
			c := alert.Context()
			c.Operation = operation
			if !full {
				c.Verdict, c.Rule = policy.Audit, -1
			}
			alert = alert.WithContext(c)
			text, err := alert.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			if got, want := keysOfMessage(t, alertMessage(alert)), keysOfJSON(t, string(operation), text); !reflect.DeepEqual(got, want) {
				t.Errorf("%s: the message has\n%v\nand the JSON\n%v", operation, got, want)
			}
		}
	}
	if !slices.Equal(seen, policy.Operations()) || len(seen) != (&pb.Alert{}).ProtoReflect().Descriptor().Oneofs().ByName("object").Fields().Len() {
		t.Errorf("operations %v", seen)
	}
}

// keysOfMessage returns the fields of a message that are set, in the words of the JSON.
func keysOfMessage(t *testing.T, m *pb.Alert) map[string]any {
	t.Helper()
	// What cannot be sent is found here.
	wire, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := proto.Unmarshal(wire, m); err != nil {
		t.Fatal(err)
	}
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var keys map[string]any
	if err := json.Unmarshal(text, &keys); err != nil {
		t.Fatal(err)
	}
	for _, enum := range []string{"verdict", "severity"} {
		if word, ok := keys[enum].(string); ok {
			keys[enum] = strings.ToLower(strings.TrimPrefix(word, strings.ToUpper(enum)+"_"))
		}
	}
	return plainValues(keys).(map[string]any)
}

// keysOfJSON returns the keys of an alert, with its object under the name of its operation. Those
// that are there although they are empty are left out, since a message does not tell them from
// absent ones.
func keysOfJSON(t *testing.T, operation string, text []byte) map[string]any {
	t.Helper()
	var keys map[string]any
	if err := json.Unmarshal(text, &keys); err != nil {
		t.Fatal(err)
	}
	keys[operation] = keys["object"]
	delete(keys, "object")
	return plainValues(keys).(map[string]any)
}

// plainValues makes comparable what the two write in different ways: times, 64-bit numbers, and
// what is empty.
func plainValues(v any) any {
	switch v := v.(type) {
	case map[string]any:
		plain := map[string]any{}
		for key, value := range v {
			if value = plainValues(value); value != "" && value != "0" && value != false {
				plain[key] = value
			}
		}
		return plain
	case []any:
		var plain []any
		for _, value := range v {
			if value = plainValues(value); value != "" {
				plain = append(plain, value)
			}
		}
		if plain == nil {
			return ""
		}
		return plain
	case float64:
		return fmt.Sprint(v)
	case string:
		if at, err := time.Parse(time.RFC3339Nano, v); err == nil {
			return at.Format(time.RFC3339Nano)
		}
	}
	return v
}
