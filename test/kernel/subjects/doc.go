// Package subjects tests in a real kernel which processes a policy selects.
package subjects
