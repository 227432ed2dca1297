package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// wanted is the version of the API that is asked for, if the daemon has it. Docker refuses those that are
// older than some years, and Podman those that are newer than it.
const wanted = "1.44"

const (
	// answerTime is how long a daemon may take to answer. It answers a question about a
	// container that starts when it has started.
	answerTime = 30 * time.Second
	// maxAnswer bounds an answer: that about one container has some 20 KB, the list 2 KB for each.
	maxAnswer = 64 << 20
)

// api asks a daemon by the Docker Engine API, which Podman serves too. It needs four questions of it;
// the official client (github.com/moby/moby/client) would bring OpenTelemetry and twenty modules
// more into a program that runs as root.
type api struct {
	http    *http.Client
	version string
}

func newAPI(socket string) *api {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	return &api{http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		},
	}}}
}

func (a *api) close() { a.http.CloseIdleConnections() }

// get asks for a path. The name of the host is of no account to a Unix socket.
func (a *api) get(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	u := url.URL{Scheme: "http", Host: "docker", Path: path, RawQuery: query.Encode()}
	if a.version != "" {
		u.Path = "/v" + a.version + path
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	response, err := a.http.Do(request)
	if err != nil {
		var at *url.Error
		if errors.As(err, &at) {
			err = at.Err // without the made-up host
		}
		return nil, err
	}
	if response.StatusCode == http.StatusOK {
		return response.Body, nil
	}
	defer response.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10)) // what can be had of it
	err = fmt.Errorf("GET %s: %s: %s", path, response.Status, strings.TrimSpace(string(said)))
	if response.StatusCode == http.StatusNotFound {
		err = &notFound{err}
	}
	return nil, err
}

// notFound is the answer about what is gone.
type notFound struct{ error }

// ask reads the answer to a question.
func (a *api) ask(ctx context.Context, path string, query url.Values, to any) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	body, err := a.get(ctx, path, query)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(io.LimitReader(body, maxAnswer)).Decode(to); err != nil {
		return fmt.Errorf("GET %s: %w", path, err)
	}
	return nil
}

// negotiate chooses the version of the API.
func (a *api) negotiate(ctx context.Context) error {
	var answer struct{ ApiVersion, MinAPIVersion string } //nolint:revive // the API's names
	a.version = ""
	if err := a.ask(ctx, "/version", nil, &answer); err != nil {
		return err
	}
	switch {
	case answer.ApiVersion == "":
		return errors.New("GET /version: the answer has no ApiVersion; is this Docker's socket, or Podman's?")
	case older(answer.ApiVersion, wanted):
		a.version = answer.ApiVersion
	case older(wanted, answer.MinAPIVersion):
		a.version = answer.MinAPIVersion
	default:
		a.version = wanted
	}
	return nil
}

// older reports whether a version such as 1.41 is older than another.
func older(a, b string) bool {
	number := func(version string) int {
		major, minor, _ := strings.Cut(version, ".")
		x, _ := strconv.Atoi(major) // what is no number is older than all
		y, _ := strconv.Atoi(minor)
		return x*1000 + y
	}
	return number(a) < number(b)
}

// event is something that has happened to a container.
type event struct {
	Action string
	Actor  struct {
		ID         string
		Attributes map[string]string
	}
}

// inspected is what is asked of a container.
type inspected struct {
	ID    string `json:"Id"`
	Name  string
	Image string
	State struct {
		Pid     uint32
		Running bool
	}
	Config struct {
		Image  string
		Labels map[string]string
	}
}

// list returns the ids of the containers that run.
func (a *api) list(ctx context.Context) ([]string, error) {
	var answer []struct {
		ID string `json:"Id"`
	}
	err := a.ask(ctx, "/containers/json", nil, &answer)
	ids := make([]string, len(answer))
	for i, c := range answer {
		ids[i] = c.ID
	}
	return ids, err
}

func (a *api) inspect(ctx context.Context, id string) (inspected, error) {
	var c inspected
	err := a.ask(ctx, "/containers/"+id+"/json", nil, &c)
	return c, err
}

// digests returns the digests with which an image can be pulled, as NAME@DIGEST.
func (a *api) digests(ctx context.Context, id string) ([]string, error) {
	var image struct{ RepoDigests []string }
	err := a.ask(ctx, "/images/"+id+"/json", nil, &image)
	return image.RepoDigests, err
}

// events begins to follow what happens to containers.
func (a *api) events(ctx context.Context) (io.ReadCloser, error) {
	return a.get(ctx, "/events", url.Values{"filters": {`{"type":["container"]}`}})
}
