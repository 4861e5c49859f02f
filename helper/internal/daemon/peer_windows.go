package daemon

import "net"

// checkPeer leaves it to the rights of the directory.
func checkPeer(*net.UnixConn) error { return nil }
