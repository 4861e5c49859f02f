package daemon

import "net"

// checkPeer does nothing: the rights of the directory keep other users out.
func checkPeer(*net.UnixConn) error { return nil }
