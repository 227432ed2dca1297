package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// workload is what people run on a server.
type workload struct {
	name string
	// first is the name of the first time in a round, where it counts apart: no answer about a file is kept yet.
	first string
	// times is how often it runs in a round: what takes long runs once.
	times int
	// prepare runs before each measurement and is not counted, finish after it.
	prepare, finish func() error
	run             func() error
}

// How much is done: some ten million to a billion instructions each, so that all of it takes some minutes.
const (
	pages    = 4 // files of the web server
	requests = 300
	sources  = 3    // files to compile
	inserts  = 100  // transactions
	texts    = 1500 // files to search
	rounds   = 40   // of three programs each, in a script
)

const (
	web    = "/var/www/html"
	build  = "/srv/build"
	data   = "/srv/data"
	forest = "/srv/texts"
)

var workloads = []workload{
	{"nginx, kept connections", "", 1, startNginx, stopNginx, func() error { return load("-k") }},
	{"nginx, a connection each", "", 1, startNginx, stopNginx, func() error { return load() }},
	{"make -j2 with gcc", "", 1, cleanBuild, nil, func() error { return do(build, "make", "-j2", "-s") }},
	{"sqlite3 on ext4", "", 2, func() error { return removeAll(data + "/test.db") }, nil, database},
	{"grep -r", "grep -r, for the first time", 3, nil, nil, func() error { return do(forest, "grep", "-rl", "needle", ".") }},
	{"a shell script", "", 2, nil, nil, func() error { return do(forest, "sh", "/srv/script.sh") }},
}

// do runs a program that has to succeed.
func do(dir, name string, args ...string) error {
	_, err := output(dir, "", name, args...)
	return err
}

func output(dir, stdin, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Stdin = strings.NewReader(stdin)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		text := out.String()
		return "", fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, text[max(0, len(text)-1000):])
	}
	return out.String(), nil
}

func removeAll(pattern string) error {
	names, err := filepath.Glob(pattern)
	for _, name := range names {
		err = errors.Join(err, os.RemoveAll(name))
	}
	return err
}

// makeFiles makes what the workloads need: on tmpfs, and on ext4 for the
// database, which waits for the disk.
func makeFiles() error {
	for _, dir := range []string{web, build, data, forest, "/var/log/nginx", "/var/lib/nginx"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for _, dir := range []string{build, forest} {
		if err := unix.Mount("srv", dir, "tmpfs", 0, ""); err != nil {
			return err
		}
	}
	disk := "/tmp/disk"
	if err := errors.Join(os.WriteFile(disk, nil, 0o600), os.Truncate(disk, 64<<20)); err != nil {
		return err
	}
	if err := do("/", "mke2fs", "-q", "-t", "ext4", disk); err != nil {
		return err
	}
	if err := do("/", "mount", "-o", "loop,nosuid,nodev", disk, data); err != nil {
		return err
	}
	files := map[string]string{
		"/etc/nginx/nginx.conf": configuration,
		build + "/Makefile":     makefile,
		"/srv/script.sh":        fmt.Sprintf(script, rounds),
	}
	for i := range pages {
		files[fmt.Sprintf("%s/%d.html", web, i)] = strings.Repeat("<p>some text</p>\n", 50+50*i)
	}
	for i := range sources {
		files[fmt.Sprintf("%s/part%d.c", build, i)] = strings.ReplaceAll(source, "NUMBER", fmt.Sprint(i))
	}
	files[build+"/main.c"] = "int main(void) { return 0; }\n"
	for i := range texts {
		files[fmt.Sprintf("%s/%d/%d", forest, i%50, i)] = strings.Repeat("nothing to be found here\n", 20)
	}
	files[forest+"/7/7"] = "a needle\n"
	for name, content := range files {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

const configuration = `
user www-data;
worker_processes 1;
pid /run/nginx.pid;
error_log /var/log/nginx/error.log;
events { worker_connections 256; }
http {
	include /etc/nginx/mime.types;
	sendfile on;
	keepalive_requests 100000;
	access_log /var/log/nginx/access.log;
	server { listen 127.0.0.1:80; root /var/www/html; }
}
`

func startNginx() error {
	if err := do("/", "/usr/sbin/nginx"); err != nil {
		return err
	}
	time.Sleep(100 * time.Millisecond) // until the worker waits for connections
	return nil
}

func stopNginx() error {
	if err := do("/", "/usr/sbin/nginx", "-s", "quit"); err != nil {
		return err
	}
	for range 100 {
		if _, err := os.Stat("/run/nginx.pid"); errors.Is(err, os.ErrNotExist) {
			return removeAll("/var/log/nginx/*")
		}
		time.Sleep(50 * time.Millisecond)
	}
	return errors.New("nginx does not end")
}

// load asks for all pages, eight requests at a time.
func load(flags ...string) error {
	for i := range pages {
		args := append(flags, "-q", "-n", fmt.Sprint(requests), "-c", "8", fmt.Sprintf("http://127.0.0.1/%d.html", i))
		out, err := output("/", "", "ab", args...)
		if err != nil {
			return err
		}
		for _, want := range []string{fmt.Sprintf("Complete requests:      %d", requests), "Failed requests:        0"} {
			if !strings.Contains(out, want) {
				return fmt.Errorf("ab does not say %q: %s", want, out)
			}
		}
		if strings.Contains(out, "Non-2xx") {
			return fmt.Errorf("ab: %s", out)
		}
	}
	return nil
}

const makefile = `
objects = $(patsubst %.c,%.o,$(wildcard *.c))
all: $(objects)
	gcc -o $@ $^
%.o: %.c
	gcc -O1 -c -o $@ $<
`

const source = `
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b) { return strcmp(*(char **)a, *(char **)b); }

int part_NUMBER(FILE *in)
{
	char line[256], *lines[64];
	int count = 0;

	while (count < 64 && fgets(line, sizeof(line), in))
		lines[count++] = strdup(line);
	qsort(lines, count, sizeof(*lines), compare);
	for (int i = 0; i < count; i++) {
		printf("%d: %s", i + NUMBER, lines[i]);
		free(lines[i]);
	}
	return count;
}
`

func cleanBuild() error {
	return errors.Join(removeAll(build+"/*.o"), removeAll(build+"/all"))
}

// database inserts in many transactions, each of which waits for the disk, and looks up.
func database() error {
	var b strings.Builder
	b.WriteString("create table items (id integer primary key, name text, price int); create index names on items (name);\n")
	for i := range inserts {
		b.WriteString("begin;\n")
		for j := range 5 {
			fmt.Fprintf(&b, "insert into items (name, price) values ('item %d', %d);\n", (i*7919+j*104729)%100_000, i+j)
		}
		b.WriteString("commit;\n")
	}
	for i := range 5 * inserts {
		fmt.Fprintf(&b, "select price from items where name = 'item %d';\n", i)
	}
	b.WriteString("select count(*) from items;\n")
	out, err := output(data, b.String(), "sqlite3", "-bail", "test.db")
	if want := fmt.Sprint(5 * inserts); err == nil && !strings.HasSuffix(strings.TrimSpace(out), want) {
		return fmt.Errorf("sqlite3 has not found %s rows: %s", want, out)
	}
	return err
}

// script starts as many programs as a configure script does.
const script = `
i=0
while [ $i -lt %d ]; do
	i=$((i + 1))
	[ "$(cat "/srv/texts/1/1" | wc -l)" -eq 20 ] || exit 1
	dirname "/srv/texts/$i" >/dev/null
done
`
