// Package examples attacks what the examples forbid, in a real kernel.
package examples
