package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ebpfguard/ebpfguard/test/cluster/node/wire"
)

// supervise runs a program for ever.
func supervise(name string, args ...string) {
	log, err := os.OpenFile(filepath.Join(wire.Logs, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		fmt.Println("node:", err)
		return
	}
	for {
		cmd := exec.Command("/usr/local/bin/"+name, args...)
		cmd.Stdout, cmd.Stderr = log, log
		fmt.Println("node:", name, "ended:", cmd.Run())
		time.Sleep(time.Second)
	}
}

// serve does what the test asks.
func serve(f *forwarder) error {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /run", func(w http.ResponseWriter, r *http.Request) {
		var c wire.Command
		if err := json.NewDecoder(r.Body).Decode(&c); err != nil || len(c.Args) == 0 {
			http.Error(w, fmt.Sprint("want the command as JSON: ", err), http.StatusBadRequest)
			return
		}
		_ = json.NewEncoder(w).Encode(runCommand(r, c.Args))
	})
	// An image's archive.
	mux.HandleFunc("POST /import", func(w http.ResponseWriter, r *http.Request) {
		if err := importFrom(r.Body); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	// Whether pods reach the API server. kubelet does in any case.
	mux.HandleFunc("POST /service/closed", func(http.ResponseWriter, *http.Request) { f.setClosed(true) })
	mux.HandleFunc("POST /service/open", func(http.ResponseWriter, *http.Request) { f.setClosed(false) })
	mux.HandleFunc("POST /sync", func(http.ResponseWriter, *http.Request) { unix.Sync() })
	return http.ListenAndServe(":"+wire.Port, mux)
}

func runCommand(r *http.Request, args []string) wire.Result {
	cmd := exec.CommandContext(r.Context(), args[0], args[1:]...)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	result := wire.Result{Output: string(out)}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		result.Exit = exit.ExitCode()
	} else if err != nil {
		result.Exit, result.Error = -1, err.Error()
	}
	return result
}

func importFrom(r io.Reader) error {
	f, err := os.CreateTemp("", "image-*.tar")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err := io.Copy(f, r); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return wire.Import(f.Name())
}
