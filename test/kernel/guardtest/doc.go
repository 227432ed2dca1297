// Package guardtest is what the kernel tests share: guards, processes that act as
// they are told, and policies. It is built with the tag vm only.
package guardtest
