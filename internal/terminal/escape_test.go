package terminal

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestEscapeJSON(t *testing.T) {
	const text = "a\u009b31m\u007f\u202egpj.exe\u2066\u061c\u200fä😀\x1b"
	data, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	escaped := string(EscapeJSON(data))
	if want := `"a\u009b31m\u007f\u202egpj.exe\u2066\u061c\u200fä😀\u001b"`; escaped != want {
		t.Errorf("got %s, want %s", escaped, want)
	}
	if strings.ContainsFunc(escaped, steers) {
		t.Errorf("%q steers", escaped)
	}
	var back string
	if err := json.Unmarshal([]byte(escaped), &back); err != nil || back != text {
		t.Errorf("%v, it means %q", err, back)
	}
	if plain := []byte(`{"a":"ä"}`); string(EscapeJSON(plain)) != string(plain) {
		t.Error("plain text is another one")
	}
}
