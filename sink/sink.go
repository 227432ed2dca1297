// Package sink takes alerts to where they are read: files, terminals, journald.
//
// A [Pipeline] reads the alerts of a manager once, numbers them, folds identical
// ones and hands them to any number of sinks, none of which can hold up another.
// A new kind of sink needs one method, see [Sink].
package sink

import (
	"bytes"
	"context"
	"io"

	"github.com/ebpfguard/ebpfguard"
)

// Sink takes alerts. A [Pipeline] calls Write one at a time. Write returns when
// the alert is where it belongs, or with an error: the alert is then counted as
// dropped and the next one tried as usual. It should return when the context
// ends.
type Sink interface {
	Write(context.Context, ebpfguard.Alert) error
}

// lines writes alerts as lines.
type lines struct {
	w      io.Writer
	format func(*bytes.Buffer, ebpfguard.Alert) error
	line   bytes.Buffer
	// torn says that the last line was written in part.
	torn bool
}

// JSON returns a sink that writes alerts as lines of JSON (docs/alerts.md), each
// with one call of Write, so that lines stay whole.
func JSON(w io.Writer) Sink {
	return &lines{w: w, format: func(line *bytes.Buffer, alert ebpfguard.Alert) error {
		// Not by encoding/json, which would replace <, > and &.
		data, err := alert.MarshalJSON()
		line.Write(data)
		return err
	}}
}

// Text returns a sink that writes alerts as lines of text for people, each with
// one call of Write. What a process may choose is quoted and cannot steer a
// terminal.
func Text(w io.Writer) Sink {
	return &lines{w: w, format: func(line *bytes.Buffer, alert ebpfguard.Alert) error {
		line.WriteString(alert.String())
		return nil
	}}
}

// Write writes one line.
func (l *lines) Write(_ context.Context, alert ebpfguard.Alert) error {
	l.line.Reset()
	if l.torn { // a full disk may have taken a part
		l.line.WriteByte('\n')
	}
	if err := l.format(&l.line, alert); err != nil {
		return err
	}
	l.line.WriteByte('\n')
	n, err := l.w.Write(l.line.Bytes())
	if err == nil && n < l.line.Len() {
		err = io.ErrShortWrite
	}
	if err == nil || n > 0 {
		l.torn = err != nil
	}
	return err
}
