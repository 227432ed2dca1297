// Package alerts tests in a real kernel what alerts say about a process and what
// learning it costs.
package alerts
