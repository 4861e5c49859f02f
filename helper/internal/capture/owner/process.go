package owner

import "github.com/causeway-dev/causeway/helper/internal/tunnel"

// Process is a program that has a socket, as far as this user may know it.
type Process struct {
	UID     int
	User    string // its name, or the number where there is none
	PID     int    // 0 if unknown, as for other users' processes
	Program string // base name of its executable, "" if unknown
}

// Origin is p as the gateway is told of it, by the source of that name.
func (p Process) Origin(source string) tunnel.Origin {
	return tunnel.Origin{Source: source, User: p.User, PID: uint32(p.PID), Program: p.Program}
}

// OriginFunc tells who opens a flow to t by the source of that name: who, of
// whom a check has told.
type OriginFunc func(source string, t tunnel.Target, who Owner) tunnel.Origin

// UserAlone is the OriginFunc that knows of no processes.
func UserAlone(source string, _ tunnel.Target, who Owner) tunnel.Origin {
	return Process{UID: who.UID, User: who.User}.Origin(source)
}

// Program is the base name of the executable of a process, as far as this user
// may know it: where it may not be looked into, the name that the process has
// given itself. "" if there is no such process.
func Program(pid int) string { return program(pid) }
