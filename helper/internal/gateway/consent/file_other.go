//go:build !unix

package consent

import "io/fs"

// writableByOthers is always false: the rights of the user's profile directory
// protect the file, and its mode says nothing.
func writableByOthers(fs.FileInfo) bool { return false }
