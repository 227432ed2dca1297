// Package sockets tests policies about sockets in a real kernel.
package sockets
