//go:build linux

package e2e

import (
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/causeway-dev/causeway/test/lab"
	"github.com/google/go-cmp/cmp"
)

// TestRunOnlyWays goes every way out that a program has, to servers outside of
// the resources, without run and under --only.
func TestRunOnlyWays(t *testing.T) {
	connect(t, runResources, "--tun=off")
	bin := build(t, "ways.c", ways, "gcc", "-static", "-no-pie", "-Wall", "-Werror")
	const args = " 198.51.100.10 198.51.100.53 "
	outcomes := func(out string, err error) map[string]string {
		t.Helper()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		said := make(map[string]string)
		for line := range strings.SplitSeq(out, "\n") {
			way, outcome, _ := strings.Cut(line, ": ")
			said[way] = outcome
		}
		return said
	}
	direct := outcomes(cloud(t, 40*time.Second, bin+args+bin))
	only := outcomes(cloud(t, 40*time.Second, bin+args+helper+" run --only -- "+bin))
	want := map[string]string{
		"TCP connect": "EACCES", "TCP connect, not waiting": "EACCES",
		"TCP fast open by sendto": "EACCES", "TCP fast open by sendmsg": "EACCES", "TCP fast open by sendmmsg": "EACCES",
		"UDP connect": "EACCES", "UDP sendto": "EACCES", "UDP sendto as AF_UNSPEC": "EACCES", "UDP sendmsg": "EACCES", "UDP sendmmsg": "EACCES",
		"UDP sendmmsg, allowed first": "1 was sent, no answer", "UDP sendmmsg, allowed last": "EACCES",
		"IPv6 socket, mapped TCP": "EACCES", "IPv6 socket, mapped UDP": "EACCES",
		"loopback": "reached", "AF_PACKET": "EACCES", "AF_VSOCK": "EACCES", "raw IP": "EACCES", "ping socket": "EACCES",
		"io_uring_setup": "ENOSYS", "io_uring_enter": "ENOSYS", "io_uring_register": "ENOSYS",
		"inherited socket": "EBADF", "inherited ring": "EBADF", "Unix socket": "reached",
		"i386 socket": "ENOSYS", "i386 socketcall": "ENOSYS", "i386 connect": "ENOSYS", "i386 sendto": "ENOSYS", "i386 sendmmsg": "ENOSYS", "i386 io_uring_setup": "ENOSYS",
		"x32 socket": "ENOSYS", "x32 connect": "ENOSYS", "x32 sendto": "ENOSYS", "x32 sendmsg": "ENOSYS", "x32 io_uring_setup": "ENOSYS",
	}
	for way, outcome := range direct {
		// What this machine's kernel has not, or keeps from users, shows nothing.
		switch outcome {
		case "reached", "2 were sent, answered":
		case "SIGSEGV": // i386 is switched off when the machine starts
			want[way] = outcome
			t.Logf("%s: %s without run", way, outcome)
		case "ENOSYS", "EPERM", "EACCES", "EAFNOSUPPORT", "EBADF":
			t.Logf("%s: %s without run", way, outcome)
		default:
			t.Errorf("%s: %s without run", way, outcome)
		}
	}
	for way := range want {
		if direct[way] == "" { // of another architecture
			delete(want, way)
		}
	}
	if diff := cmp.Diff(want, only); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
}

// TestRunOnlyRace changes what a call points to while it is judged, for two
// seconds. Nothing comes to a server outside of the resources, be it on an
// address of the remote itself.
func TestRunOnlyRace(t *testing.T) {
	connect(t, runResources, "--tun=off")
	bin := build(t, "race.c", races, "gcc", "-static", "-Wall", "-Werror", "-pthread")
	const own, outside = "198.51.100.2", "198.51.100.10"
	ln, err := world.Cloud.Listen("tcp", own+":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	port := ln.Addr().(*net.TCPAddr).Port
	var streams atomic.Int32
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			streams.Add(1)
			_ = c.Close()
		}
	}()
	datagrams := func(h *lab.Host, host string) *atomic.Int32 {
		t.Helper()
		pc, err := h.ListenPacket("udp", net.JoinHostPort(host, fmt.Sprint(port)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = pc.Close() })
		var n atomic.Int32
		go func() {
			for b := make([]byte, 100); ; n.Add(1) {
				if _, _, err := pc.ReadFrom(b); err != nil {
					return
				}
			}
		}()
		return &n
	}
	counts := []*atomic.Int32{&streams, datagrams(world.Cloud, own), datagrams(world.Internet, outside)}
	for _, run := range []string{helper + " run --only -- ", ""} {
		for _, n := range counts {
			n.Store(0)
		}
		out, err := cloud(t, 40*time.Second, fmt.Sprintf("%s%s %s %s %d", run, bin, own, outside, port))
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		t.Log(out)
		for i, what := range []string{"connections to an address of cloud", "datagrams to an address of cloud", "datagrams to the outside"} {
			switch n := counts[i].Load(); {
			case run != "" && n != 0:
				t.Errorf("%d %s", n, what)
			case run == "" && n == 0:
				t.Errorf("the probe shows nothing: no %s without run", what)
			}
		}
	}
}

// races flips an address between loopback and ones that are refused, its family,
// and where a message has its name, while another thread connects and sends. It
// names a device for its datagrams, which counts for more than the socket's.
const races = `
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <net/if.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct in_addr local, away[2];
static volatile struct sockaddr_in flips = {.sin_family = AF_INET};
static struct msghdr message;
static volatile int stop, outside;

static void *flip(void *none) {
	while (!stop) {
		for (int i = 0; i < 10; i++) flips.sin_addr.s_addr = local.s_addr;
		for (int i = 0; i < 10; i++) flips.sin_addr.s_addr = away[outside].s_addr;
		flips.sin_family = AF_UNSPEC; flips.sin_family = AF_UNIX; flips.sin_family = AF_INET;
		*(void *volatile *)&message.msg_name = NULL; *(void *volatile *)&message.msg_name = (void *)&flips;
	}
	return none;
}

static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec / 1e9; }

int main(int argc, char **argv) {
	int port;
	inet_pton(AF_INET, "127.0.0.1", &local);
	inet_pton(AF_INET, argv[1], &away[0]); inet_pton(AF_INET, argv[2], &away[1]); sscanf(argv[3], "%d", &port);
	flips.sin_port = htons(port);
	struct iovec v = {"x", 1};
	char control[CMSG_SPACE(sizeof(struct in_pktinfo))];
	memset(control, 0, sizeof control);
	message.msg_name = (void *)&flips; message.msg_namelen = sizeof flips; message.msg_iov = &v; message.msg_iovlen = 1;
	message.msg_control = control; message.msg_controllen = sizeof control;
	struct cmsghdr *h = CMSG_FIRSTHDR(&message);
	h->cmsg_level = IPPROTO_IP; h->cmsg_type = IP_PKTINFO; h->cmsg_len = CMSG_LEN(sizeof(struct in_pktinfo));
	struct in_pktinfo *device = (void *)CMSG_DATA(h);

	struct sockaddr_in home = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = local};
	int server = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), u = socket(AF_INET, SOCK_DGRAM, 0);
	setsockopt(server, SOL_SOCKET, SO_REUSEADDR, (int[1]){1}, sizeof(int));
	if (bind(server, (void *)&home, sizeof home) || listen(server, 1000)) { perror("listen"); return 1; }
	pthread_t t;
	pthread_create(&t, NULL, flip, NULL);
	struct timeval soon = {.tv_usec = 20000};
	double end = now() + 2;
	int i;
	for (i = 0; now() < end; i++) {
		outside = now() > end - 1;
		device->ipi_ifindex = outside ? if_nametoindex("internet") : 0;
		// What waits for a neighbour that is none fills a socket.
		if (i % 32 == 0) { close(u); u = socket(AF_INET, SOCK_DGRAM, 0); }
		sendto(u, "x", 1, MSG_DONTWAIT, (void *)&flips, sizeof flips);
		sendmsg(u, &message, MSG_DONTWAIT);
		struct mmsghdr many = {.msg_hdr = message};
		many.msg_hdr.msg_name = (void *)&flips;
		sendmmsg(u, &many, 1, MSG_DONTWAIT);
		if (outside) continue;
		int s = socket(AF_INET, SOCK_STREAM | (i & 1 ? SOCK_NONBLOCK : 0), 0);
		setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof soon);
		if (i & 2) connect(s, (void *)&flips, sizeof flips);
		else if (i & 4) sendto(s, "x", 1, MSG_FASTOPEN, (void *)&flips, sizeof flips);
		else { message.msg_control = NULL; sendmsg(s, &message, MSG_FASTOPEN); message.msg_control = control; }
		close(s);
		while ((s = accept(server, NULL, NULL)) >= 0) close(s);
	}
	stop = 1;
	pthread_join(t, NULL);
	printf("%d rounds\n", i);
	return 0;
}
`

// ways goes each way to a web server and to a name server, and says of each what
// becomes of it. It is its own parent first, of which it inherits what is open.
const ways = `
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct sockaddr_in web = {.sin_family = AF_INET}, names = {.sin_family = AF_INET}, home = {.sin_family = AF_INET};
static struct sockaddr_in6 web6 = {.sin6_family = AF_INET6}, names6 = {.sin6_family = AF_INET6};
static char get[] = "GET / HTTP/1.0\r\n\r\n";
static char question[] = "\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x06public\x07example\x04test\0\0\x01\0\x01";
#define ASK question, sizeof question - 1
#define GET get, sizeof get - 1

static void say(const char *way, long result) {
	if (result < 0) result = -1;
	printf("%s: %s\n", way, result < 0 ? strerrorname_np(errno) : "reached");
	fflush(stdout);
}

// answered waits for the other end to say something.
static long answered(int fd) {
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char b[512];
	if (poll(&p, 1, 2000) != 1) { errno = ETIMEDOUT; return -1; }
	long n = recv(fd, b, sizeof b, 0);
	if (n == 0) errno = ENODATA;
	return n > 0 ? n : -1;
}

static long stream(int fd, const void *to, int size) {
	if (connect(fd, to, size)) {
		if (errno != EINPROGRESS) return -1;
		struct pollfd p = {.fd = fd, .events = POLLOUT};
		poll(&p, 1, 2000);
	}
	if (send(fd, GET, 0) < 0) return -1;
	return answered(fd);
}

static struct iovec part(void *data, size_t size) { struct iovec v = {data, size}; return v; }

static void messages(const char *way, struct sockaddr_in *first, struct sockaddr_in *last) {
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct iovec v = part(ASK);
	struct mmsghdr m[2];
	memset(m, 0, sizeof m);
	m[0].msg_hdr.msg_name = first; m[1].msg_hdr.msg_name = last;
	for (int i = 0; i < 2; i++) { m[i].msg_hdr.msg_namelen = sizeof *first; m[i].msg_hdr.msg_iov = &v; m[i].msg_hdr.msg_iovlen = 1; }
	int n = sendmmsg(fd, m, 2, 0);
	if (n < 0) say(way, n);
	else printf("%s: %d %s sent, %s\n", way, n, n == 1 ? "was" : "were", answered(fd) > 0 ? "answered" : "no answer");
	close(fd);
}

#ifdef __x86_64__
static sigjmp_buf back;
static void fault(int sig) { (void)sig; siglongjmp(back, 1); }

// i386 makes a call of the 32-bit table; what it points to is below 4 GiB.
static long i386(long number, long a, long b, long c, long d, long e) {
	long r;
	__asm__ volatile("int $0x80" : "=a"(r) : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e) : "memory", "r8", "r9", "r10", "r11");
	if (r < 0) { errno = -r; return -1; }
	return r;
}

#define FOREIGN(way, expression) \
	if (sigsetjmp(back, 1)) printf("%s: SIGSEGV\n", way); \
	else say(way, expression)
#define LOW(p) ((long)(p))

static void foreign(void) {
	signal(SIGSEGV, fault);
	static unsigned int args[3];
	static struct { unsigned int name, size, vectors, count, control, controls, flags, length; } m;
	static struct { unsigned int base, size; } v;
	static struct io_uring_params ring;
	args[0] = AF_INET; args[1] = SOCK_STREAM;
	FOREIGN("i386 socket", i386(359, AF_INET, SOCK_STREAM, 0, 0, 0));
	FOREIGN("i386 socketcall", i386(102, 1, LOW(args), 0, 0, 0));
	int fd = socket(AF_INET, SOCK_STREAM, 0), u = socket(AF_INET, SOCK_DGRAM, 0);
	FOREIGN("i386 connect", i386(362, fd, LOW(&web), sizeof web, 0, 0));
	FOREIGN("i386 sendto", i386(369, u, LOW(question), sizeof question - 1, 0, LOW(&names)) < 0 && errno != EINVAL ? -1 : 0);
	v.base = LOW(question); v.size = sizeof question - 1;
	m.name = LOW(&names); m.size = sizeof names; m.vectors = LOW(&v); m.count = 1;
	FOREIGN("i386 sendmmsg", i386(345, u, LOW(&m), 1, 0, 0));
	FOREIGN("i386 io_uring_setup", i386(425, 1, LOW(&ring), 0, 0, 0));
	close(fd); close(u);
	fd = socket(AF_INET, SOCK_STREAM, 0); u = socket(AF_INET, SOCK_DGRAM, 0);
	long x32 = 0x40000000;
	say("x32 socket", syscall(x32 | SYS_socket, AF_INET, SOCK_STREAM, 0));
	say("x32 connect", syscall(x32 | SYS_connect, fd, &web, sizeof web));
	say("x32 sendto", syscall(x32 | SYS_sendto, u, ASK, 0, &names, sizeof names));
	say("x32 sendmsg", syscall(x32 | 518, u, &m, 0));
	say("x32 io_uring_setup", syscall(x32 | SYS_io_uring_setup, 1, &ring));
	close(fd); close(u);
}
#else
static void foreign(void) {}
#endif

int main(int argc, char **argv) {
	web.sin_port = web6.sin6_port = htons(80); names.sin_port = names6.sin6_port = htons(53);
	inet_pton(AF_INET, argv[1], &web.sin_addr); inet_pton(AF_INET, argv[2], &names.sin_addr);
	char mapped[64];
	snprintf(mapped, sizeof mapped, "::ffff:%s", argv[1]); inet_pton(AF_INET6, mapped, &web6.sin6_addr);
	snprintf(mapped, sizeof mapped, "::ffff:%s", argv[2]); inet_pton(AF_INET6, mapped, &names6.sin6_addr);
	struct io_uring_params ring;
	if (argc > 3 && strcmp(argv[3], "again")) {
		memset(&ring, 0, sizeof ring);
		int s = socket(AF_INET, SOCK_STREAM, 0), r = syscall(SYS_io_uring_setup, 1, &ring);
		if (connect(s, (void *)&web, sizeof web) || dup2(s, 20) < 0 || (r >= 0 && dup2(r, 21) < 0)) { perror("inherit"); return 1; }
		char *args[16]; int n = 0;
		for (int i = 3; i < argc; i++) args[n++] = argv[i];
		args[n++] = argv[1]; args[n++] = argv[2]; args[n++] = "again"; args[n] = NULL;
		execv(args[0], args);
		perror("exec");
		return 1;
	}

	int fd;
	long n;
	fd = socket(AF_INET, SOCK_STREAM, 0); say("TCP connect", stream(fd, &web, sizeof web)); close(fd);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0); say("TCP connect, not waiting", stream(fd, &web, sizeof web)); close(fd);
	struct iovec v = part(GET);
	struct mmsghdr m;
	memset(&m, 0, sizeof m);
	m.msg_hdr.msg_name = &web; m.msg_hdr.msg_namelen = sizeof web; m.msg_hdr.msg_iov = &v; m.msg_hdr.msg_iovlen = 1;
	fd = socket(AF_INET, SOCK_STREAM, 0); n = sendto(fd, GET, MSG_FASTOPEN, (void *)&web, sizeof web); say("TCP fast open by sendto", n < 0 ? n : answered(fd)); close(fd);
	fd = socket(AF_INET, SOCK_STREAM, 0); n = sendmsg(fd, &m.msg_hdr, MSG_FASTOPEN); say("TCP fast open by sendmsg", n < 0 ? n : answered(fd)); close(fd);
	fd = socket(AF_INET, SOCK_STREAM, 0); n = sendmmsg(fd, &m, 1, MSG_FASTOPEN); say("TCP fast open by sendmmsg", n < 0 ? n : answered(fd)); close(fd);

	v = part(ASK); m.msg_hdr.msg_name = &names;
	fd = socket(AF_INET, SOCK_DGRAM, 0); n = connect(fd, (void *)&names, sizeof names); if (n == 0) n = send(fd, ASK, 0); say("UDP connect", n < 0 ? n : answered(fd)); close(fd);
	fd = socket(AF_INET, SOCK_DGRAM, 0); n = sendto(fd, ASK, 0, (void *)&names, sizeof names); say("UDP sendto", n < 0 ? n : answered(fd)); close(fd);
	names.sin_family = AF_UNSPEC;
	fd = socket(AF_INET, SOCK_DGRAM, 0); n = sendto(fd, ASK, 0, (void *)&names, sizeof names); say("UDP sendto as AF_UNSPEC", n < 0 ? n : answered(fd)); close(fd);
	names.sin_family = AF_INET;
	fd = socket(AF_INET, SOCK_DGRAM, 0); n = sendmsg(fd, &m.msg_hdr, 0); say("UDP sendmsg", n < 0 ? n : answered(fd)); close(fd);
	fd = socket(AF_INET, SOCK_DGRAM, 0); n = sendmmsg(fd, &m, 1, 0); say("UDP sendmmsg", n < 0 ? n : answered(fd)); close(fd);
	fd = socket(AF_INET6, SOCK_STREAM, 0); say("IPv6 socket, mapped TCP", stream(fd, &web6, sizeof web6)); close(fd);
	fd = socket(AF_INET6, SOCK_DGRAM, 0); n = sendto(fd, ASK, 0, (void *)&names6, sizeof names6); say("IPv6 socket, mapped UDP", n < 0 ? n : answered(fd)); close(fd);

	int own = socket(AF_INET, SOCK_DGRAM, 0);
	socklen_t size = sizeof home;
	inet_pton(AF_INET, "127.0.0.1", &home.sin_addr);
	if (bind(own, (void *)&home, sizeof home) || getsockname(own, (void *)&home, &size)) { perror("bind"); return 1; }
	messages("UDP sendmmsg, allowed first", &home, &names);
	messages("UDP sendmmsg, allowed last", &names, &home);
	fd = socket(AF_INET, SOCK_DGRAM, 0); n = sendto(fd, ASK, 0, (void *)&home, sizeof home); say("loopback", n < 0 ? n : answered(own)); close(fd);

	say("AF_PACKET", socket(AF_PACKET, SOCK_RAW, 0));
	say("AF_VSOCK", socket(AF_VSOCK, SOCK_STREAM, 0));
	say("raw IP", socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
	say("ping socket", socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP));
	say("Unix socket", socketpair(AF_UNIX, SOCK_STREAM, 0, (int[2]){0, 0}));
	memset(&ring, 0, sizeof ring);
	fd = syscall(SYS_io_uring_setup, 1, &ring);
	say("io_uring_setup", fd);
	n = syscall(SYS_io_uring_enter, fd, 0, 0, 0, NULL, 0); say("io_uring_enter", n);
	n = syscall(SYS_io_uring_register, fd, IORING_REGISTER_FILES, (int[1]){1}, 1); say("io_uring_register", n);
	n = write(20, GET); say("inherited socket", n < 0 ? n : answered(20));
	say("inherited ring", fcntl(21, F_GETFD));
	foreign();
	return 0;
}
`
