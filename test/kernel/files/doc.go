// Package files tests policies about files in a real kernel: their paths and
// identities, the verdicts, and what the guard keeps of its answers.
package files
