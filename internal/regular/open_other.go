//go:build !unix

package regular

// dontWait is for systems that have named pipes as files.
const dontWait = 0
