package ping

import "golang.org/x/sys/unix"

// ownsID: the kernel puts the socket's own identifier into what it sends.
const ownsID = false

// tellErrors makes the socket return the ICMP errors of routers.
func tellErrors(fd int, v6 bool) error {
	if v6 {
		return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1)
	}
	return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVERR, 1)
}
