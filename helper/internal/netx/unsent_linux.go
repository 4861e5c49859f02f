package netx

import "golang.org/x/sys/unix"

const notSentLowAt = unix.TCP_NOTSENT_LOWAT
