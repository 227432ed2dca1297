package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// syntax records an error that the YAML parser returned for the file.
func (r *Reader) syntax(data []byte, err error) {
	text := yamlLine.ReplaceAllString(err.Error(), "")
	line, column, content := syntaxPlace(data, err)
	remedy := "look at this line and the ones before it"
	switch {
	case text == "found unknown escape character":
		remedy = `in double quotes write \\ for a backslash, and / for the \/ of JSON`
	case text == "found invalid Unicode character escape code":
		remedy = `write the character itself, and not the two \u escapes that JSON has for it`
	case strings.Contains(content[:len(content)-len(strings.TrimLeft(content, " \t"))], "\t"):
		remedy = "indent with spaces, not with tabs"
	case text == "did not find expected node content":
		// What the parser says of [::1].
		remedy = `write values that begin with a colon in quotes, such as "::1", and close every bracket`
	case strings.HasPrefix(text, "did not find expected ',' or"):
		remedy = "close every bracket, and write values with brackets in quotes"
	case text == "did not find expected key", text == "did not find expected '-' indicator":
		remedy = "indent this line as the others of its list or mapping, and close no bracket that is not open"
	case text == "mapping values are not allowed in this context":
		remedy = "indent this line as the others of its mapping, and write values with a colon in quotes"
	}
	r.FailAt(line, column, fmt.Errorf("not valid YAML: %s; %s", text, remedy))
}

// maxRetried bounds the size of the files that are parsed again to find the place
// of an error.
const maxRetried = 1 << 20

// syntaxPlace returns where the parser met the error, and the line. The parser
// names another line, if any: the one where the list or mapping begins that it
// was reading, or the one before that. But as it reads from the front, the line is
// the last of the fewest that give this error.
func syntaxPlace(data []byte, err error) (line, column int, content string) {
	lines := bytes.SplitAfter(data, []byte("\n"))
	line = 1
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil && m[1] != "" {
		line, _ = strconv.Atoi(m[1]) // it has only digits
	}
	if len(data) <= maxRetried {
		line = 1 + sort.Search(len(lines)-1, func(i int) bool {
			found := syntaxError(bytes.Join(lines[:i+1], nil))
			return found != nil && found.Error() == err.Error()
		})
	}
	content = string(bytes.TrimRight(lines[min(line, len(lines))-1], "\r\n"))
	return line, 1 + len(content) - len(strings.TrimLeft(content, " \t")), content
}

// syntaxError returns the error for which the text is not YAML.
func syntaxError(data []byte) error {
	documents := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var document yaml.Node
		switch err := documents.Decode(&document); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}
