package daemon

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/ebpfguard/ebpfguard/api/ebpfguard/v1alpha1"
	"github.com/ebpfguard/ebpfguard/daemon/config"
)

// Reload reads the configuration and the policy directory again, and reopens files of
// alerts, as SIGHUP does. It does not wait for that.
func (d *Daemon) Reload() {
	select {
	case d.reloads <- nil:
	default: // it is going to
	}
}

// Reload implements [pb.GuardServiceServer].
func (s *service) Reload(ctx context.Context, _ *pb.ReloadRequest) (*pb.ReloadResponse, error) {
	answer := make(chan error, 1)
	var err error
	select {
	case s.d.reloads <- answer:
		select {
		case err = <-answer:
		case <-ctx.Done():
			err = ctx.Err()
		}
	case <-ctx.Done():
		err = ctx.Err()
	}
	switch {
	case err == nil:
		return &pb.ReloadResponse{}, nil
	case ctx.Err() != nil:
		return nil, status.FromContextError(err).Err()
	}
	return nil, status.Error(codes.FailedPrecondition, err.Error())
}

// reload returns what of it was refused, so that the former stays.
func (d *Daemon) reload() error {
	var errs []error
	if err := d.outputs.Reopen(); err != nil {
		errs = append(errs, fmt.Errorf("a file of alerts was not reopened; alerts still go to the old one: %w", err))
		d.log.Error("a file of alerts was not reopened; alerts still go to the old one", "error", err)
	}
	if d.options.Configure != nil {
		if c, err := d.options.Configure(); err != nil {
			err = fmt.Errorf("the configuration was NOT reloaded, the previous one stays: %w", err)
			d.problem(problemConfig, err)
			errs = append(errs, err)
		} else {
			d.solved(problemConfig)
			d.reconfigure(c)
		}
	}
	if err := d.reloadDirectory(); err != nil {
		errs = append(errs, fmt.Errorf("the policies of the directory are NOT in force, the previous ones stay in force: %w", err))
	}
	if len(errs) == 0 {
		d.log.Info("reloaded")
	}
	return errors.Join(errs...)
}

// reconfigure takes over what can change while the daemon runs.
func (d *Daemon) reconfigure(to config.Config) {
	d.stateMu.Lock()
	former := d.config
	next := former
	next.Policies, next.Debounce, next.OnExit, next.LogLevel, next.AllowLockout = to.Policies, to.Debounce, to.OnExit, to.LogLevel, to.AllowLockout
	d.config = next
	if former.Policies != next.Policies || former.Debounce != next.Debounce {
		close(d.watched)
		d.watched = make(chan struct{})
	}
	d.stateMu.Unlock()
	if d.options.Level != nil {
		d.options.Level.Set(next.LogLevel)
	}
	if left := changedKeys(next, to); len(left) > 0 {
		d.log.Warn("these options change only when the daemon restarts", "options", left)
	}
}

// wordStart is where a word of a field's name begins, but the first.
var wordStart = regexp.MustCompile(`\B[A-Z]`)

// changedKeys returns the keys of the configuration that differ: on_exit for OnExit.
func changedKeys(a, b config.Config) []string {
	var keys []string
	va, vb := reflect.ValueOf(a), reflect.ValueOf(b)
	for i := range va.NumField() {
		if !reflect.DeepEqual(va.Field(i).Interface(), vb.Field(i).Interface()) {
			keys = append(keys, strings.ToLower(wordStart.ReplaceAllString(va.Type().Field(i).Name, "_$0")))
		}
	}
	return keys
}
