package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	gorilla "github.com/gorilla/websocket"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/transport/websocket"
	"k8s.io/streaming/pkg/httpstream"
)

// The protocols of pods/exec over a WebSocket (k8s.io/client-go, tools/remotecommand): the first byte of a message is the
// number of its channel. With version 5, which API servers have since Kubernetes 1.30, the standard input can be ended.
// The package remotecommand does the same, and makes the command 4 MB larger.
const (
	protocol4 = "v4.channel.k8s.io"
	protocol5 = "v5.channel.k8s.io"
)

// The channels.
const (
	channelStdin  = 0
	channelStdout = 1
	channelStderr = 2
	channelStatus = 3
	channelClose  = 255
)

// How often the connection is tried, and how long it may be silent: the machine at its other end may be gone.
const (
	pingInterval = 10 * time.Second
	silence      = 60 * time.Second
)

// maxMessage bounds what one message may bring. API servers send 32 KiB at most.
const maxMessage = 1 << 20

// Command is a command line of ebpfguard for an agent.
type Command struct {
	Args []string
	// Stdin, if not nil, is its standard input, which is closed when this side is gone.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// program is where the agents' image has the command.
const program = "/ebpfguard"

// ExitError says that a command ended with another code than 0.
type ExitError struct{ Code int }

func (e *ExitError) Error() string { return fmt.Sprintf("exit code %d", e.Code) }

// Exec runs a command in the pod of an agent until it ends. Its exit code is an [*ExitError]. When ctx ends, so does the
// connection, and of the command the standard input.
func (c *Cluster) Exec(ctx context.Context, a Agent, command Command) (err error) {
	conn, err := c.connect(ctx, a, command)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if command.Stdin != nil {
		go send(conn, command.Stdin)
	}
	ended := make(chan struct{})
	defer close(ended)
	go ping(conn, ended)
	status, err := receive(conn, command.Stdout, command.Stderr)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case len(status) > 0: // the command has ended, whatever became of the connection then
		return exitOf(status)
	case err != nil:
		return fmt.Errorf("the connection to the agent broke: %w", err)
	}
	return errors.New("the connection to the agent ended before the command did")
}

// connect starts the command.
func (c *Cluster) connect(ctx context.Context, a Agent, command Command) (*gorilla.Conn, error) {
	request := c.client.Get().AbsPath(podPath(a.pod.Namespace, a.pod.Name)+"/exec").
		Param("container", a.container).Param("stdout", "true").Param("stderr", "true").Param("command", program)
	for _, arg := range command.Args {
		request.Param("command", arg)
	}
	if command.Stdin != nil {
		request.Param("stdin", "true")
	}
	protocols := []string{protocol5, protocol4}
	if command.Stdin != nil {
		protocols = protocols[:1]
	}
	upgrade, err := http.NewRequestWithContext(ctx, http.MethodGet, request.URL().String(), nil)
	if err != nil {
		return nil, err
	}
	through, holder, err := websocket.RoundTripperFor(c.config)
	if err != nil {
		return nil, err
	}
	conn, err := websocket.Negotiate(through, holder, upgrade, protocols...)
	var failed *httpstream.UpgradeFailureError
	if errors.As(err, &failed) {
		err = explain(failed.Cause)
	}
	if err != nil {
		return nil, fmt.Errorf("run a command in the pod %s: %w", a, err)
	}
	return conn, nil
}

// send sends the standard input, and its end.
func send(conn *gorilla.Conn, from io.Reader) {
	buffer := make([]byte, 32<<10)
	buffer[0] = channelStdin
	for {
		n, err := from.Read(buffer[1:])
		if n > 0 && conn.WriteMessage(gorilla.BinaryMessage, buffer[:1+n]) != nil {
			return // who receives notices
		}
		if err != nil {
			_ = conn.WriteMessage(gorilla.BinaryMessage, []byte{channelClose, channelStdin})
			return
		}
	}
}

// ping keeps the connection, and lets it fail when nobody answers.
func ping(conn *gorilla.Conn, ended <-chan struct{}) {
	tick := time.NewTicker(pingInterval)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
			_ = conn.WriteControl(gorilla.PingMessage, nil, time.Now().Add(pingInterval))
		}
	}
}

// receive writes what the command writes, and returns how it ended.
func receive(conn *gorilla.Conn, stdout, stderr io.Writer) (status []byte, err error) {
	conn.SetReadLimit(maxMessage)
	alive := func(string) error { return conn.SetReadDeadline(time.Now().Add(silence)) }
	conn.SetPongHandler(alive)
	for {
		_ = alive("")
		_, message, err := conn.ReadMessage()
		var closed *gorilla.CloseError
		switch {
		case errors.As(err, &closed) && closed.Code == gorilla.CloseNormalClosure:
			return status, nil
		case err != nil:
			return status, err
		case len(message) == 0:
			continue
		}
		switch data := message[1:]; message[0] {
		case channelStdout:
			_, err = stdout.Write(data)
		case channelStderr:
			_, err = stderr.Write(data)
		case channelStatus:
			if status = append(status, data...); len(status) > maxMessage {
				return nil, errors.New("the API server's status does not end")
			}
		}
		if err != nil {
			return nil, err
		}
	}
}

// exitOf returns what a status says of a command's end.
func exitOf(text []byte) error {
	var s metav1.Status
	if err := json.Unmarshal(bytes.TrimSpace(text), &s); err != nil {
		return fmt.Errorf("the API server's status %.200q cannot be read: %w", text, err)
	}
	if s.Status == metav1.StatusSuccess {
		return nil
	}
	if s.Details != nil {
		for _, cause := range s.Details.Causes {
			if code, err := strconv.Atoi(cause.Message); err == nil && cause.Type == "ExitCode" {
				return &ExitError{code}
			}
		}
	}
	return fmt.Errorf("the agent's node did not run the command: %s", s.Message)
}
