package link

import "os"

// guard does nothing: the remote waits for its resume limit when this process is killed.
func guard(*os.File) (release func()) { return func() {} }
