package owner

// Process is a program that has a socket, as far as this user may know it.
type Process struct {
	UID     int
	User    string // its name, or the number where there is none
	PID     int    // 0 if unknown, as for other users' processes
	Program string // base name of its executable, "" if unknown
}
