package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// readyFile is the path of a file that exists while the policies are in force; none if
// empty. It is for scripts and tests.
type readyFile string

func (f readyFile) write(d *Daemon) error {
	if f == "" {
		return nil
	}
	d.mu.Lock()
	line, err := json.Marshal(struct {
		PID      int      `json:"pid"`
		Revision uint32   `json:"revision"`
		Policies []string `json:"policies"`
	}{os.Getpid(), d.revision, names(d.sets.all())})
	d.mu.Unlock()
	if err == nil {
		err = replaceFile(string(f), 0o644, append(line, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write the ready file: %w; choose a folder that exists and is writable", err)
	}
	return nil
}

func (f readyFile) remove() error {
	if f == "" {
		return nil
	}
	if err := os.Remove(string(f)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the ready file: %w; remove it by hand, because it says that policies are in force", err)
	}
	return nil
}
