//go:build linux

package containers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// The images. Each has the commands fetch URL, which prints the body of an http URL,
// and lookup NAME, which prints addresses.
const (
	debian  = "localhost/debian"  // glibc
	busybox = "localhost/busybox" // busybox, and musl's resolver
)

// muslImage makes the archive of the busybox image, and returns its name.
func muslImage(ctx context.Context, dir string) (string, error) {
	root := filepath.Join(dir, "busybox")
	for _, d := range []string{"bin", "etc", "proc", "root", "sys", "dev", "run", "usr/local/bin", "tmp", "var/tmp"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return "", err
		}
	}
	for _, d := range []string{"tmp", "var/tmp"} {
		if err := os.Chmod(filepath.Join(root, d), 0o777|os.ModeSticky); err != nil {
			return "", err
		}
	}
	for file, text := range map[string]string{
		"etc/passwd": "root:x:0:0:root:/root:/bin/sh\ndev:x:1000:1000::/home/dev:/bin/sh\n",
		"etc/group":  "root:x:0:\ndev:x:1000:\n",
		"fetch.c":    fetchSource,
	} {
		if err := os.WriteFile(filepath.Join(root, file), []byte(text), 0o644); err != nil {
			return "", err
		}
	}
	archive := filepath.Join(dir, "busybox.tar")
	script := `
cd "$1"
cp "$(PATH=$PATH:/usr/sbin:/sbin command -v busybox)" bin/busybox
for name in $(bin/busybox --list); do [ "$name" = busybox ] || ln -s busybox "bin/$name"; done
musl-gcc -static -O1 -Wall -Werror -o bin/fetch fetch.c
ln -s fetch bin/lookup
rm fetch.c
tar -cf "$2" .
`
	if out, err := exec.CommandContext(ctx, "bash", "-euc", script, "bash", root, archive).CombinedOutput(); err != nil {
		return "", fmt.Errorf("make the image of busybox: %w: %s", err, out)
	}
	return archive, os.RemoveAll(root)
}

const fetchSource = `
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv) {
	char host[300] = "", port[8] = "80", path[300] = "/", address[100], request[1000], b[4096];
	int look = strstr(argv[0], "lookup") != 0;
	if (look) snprintf(host, sizeof host, "%s", argv[1]);
	else {
		sscanf(argv[1], "http://%299[^:/]", host);
		const char *rest = argv[1] + 7 + strlen(host);
		if (*rest == ':') sscanf(rest, ":%7[0-9]%299s", port, path);
		else sscanf(rest, "%299s", path);
	}
	struct addrinfo *all, hints = {.ai_socktype = SOCK_STREAM};
	int r = getaddrinfo(host, port, &hints, &all);
	if (r) { fprintf(stderr, "%s: %s\n", host, gai_strerror(r)); return 1; }
	for (struct addrinfo *a = all; a; a = a->ai_next) {
		getnameinfo(a->ai_addr, a->ai_addrlen, address, sizeof address, 0, 0, NI_NUMERICHOST);
		if (look) { puts(address); continue; }
		int s = socket(a->ai_family, SOCK_STREAM, 0);
		if (s < 0 || connect(s, a->ai_addr, a->ai_addrlen)) { perror(address); close(s); continue; }
		snprintf(request, sizeof request, "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n", path, host);
		if (write(s, request, strlen(request)) < 0) { perror("write"); return 1; }
		FILE *f = fdopen(s, "r");
		int body = 0;
		while (fgets(b, sizeof b, f)) {
			if (body) fputs(b, stdout);
			else if (!strcmp(b, "\r\n")) body = 1;
		}
		return !body;
	}
	return !look;
}
`
