package owner

import "github.com/causeway-dev/causeway/helper/internal/tunnel"

// Process is a process that has a socket, as far as this user may know it.
type Process struct {
	UID     int
	User    string // its name, or the number where there is none
	PID     int    // 0 if unknown, as for other users' processes
	Program string // base name of its executable, "" if unknown
}

// Origin returns p in the form that the named source sends to the gateway.
func (p Process) Origin(source string) tunnel.Origin {
	return tunnel.Origin{Source: source, User: p.User, PID: uint32(p.PID), Program: p.Program}
}

// OriginFunc returns the origin of a flow to t from the named source; who is the
// result of the check.
type OriginFunc func(source string, t tunnel.Target, who Owner) tunnel.Origin

// UserAlone is an OriginFunc that finds no process.
func UserAlone(source string, _ tunnel.Target, who Owner) tunnel.Origin {
	return Process{UID: who.UID, User: who.User}.Origin(source)
}

// Program returns the base name of the executable of a process. If this user may not
// read that, it returns the name that the process has given itself; "" if there is
// no such process.
func Program(pid int) string { return program(pid) }
