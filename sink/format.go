package sink

import (
	"fmt"
	"io"
)

// Format is the form of lines of alerts; JSON if empty.
type Format string

// The forms of lines.
const (
	FormatJSON Format = "json"
	FormatText Format = "text"
)

// Validate returns an error for a form that there is not.
func (f Format) Validate() error {
	switch f {
	case "", FormatJSON, FormatText:
		return nil
	}
	return fmt.Errorf("unknown format %q; choose json or text", string(f))
}

// Lines returns the sink of [Text] or [JSON].
func Lines(w io.Writer, f Format) Sink {
	if f == FormatText {
		return Text(w)
	}
	return JSON(w)
}
