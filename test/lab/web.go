//go:build linux

package lab

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/coder/websocket"
)

const webName = "web." + Zone

const publicZone = `
$ORIGIN example.test.
$TTL 60
@       SOA ns hostmaster 1 3600 600 86400 5
public  A   198.51.100.10
ns      A   198.51.100.53
`

// Bytes returns an endless stream of bytes that do not compress. They depend only on
// seed. /bytes of the web server sends them.
func Bytes(seed uint64) io.Reader {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	return rand.NewChaCha8(key)
}

// handler is corp's web site:
//
//	/                      a line with the protocol and the requested name
//	/bytes?n=N&seed=S      N bytes of Bytes(S)
//	/sha256?n=N&seed=S     their SHA-256 in hexadecimal
//	/upload                "BYTES SHA256" of the request's body
//	/ws                    WebSocket: sends every message back
//	/headers               the request's headers as JSON
//	/status?code=C         an empty answer with that status
//	/slow?ms=T             an answer after that time
//	/halfclosed?token=T    see HangUpPort
func (l *Lab) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s\n", r.Proto, r.Host)
	})
	mux.HandleFunc("/bytes", func(w http.ResponseWriter, r *http.Request) {
		n, seed := number(r, "n"), number(r, "seed")
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
		_, _ = io.CopyN(w, Bytes(uint64(seed)), n)
	})
	mux.HandleFunc("/sha256", func(w http.ResponseWriter, r *http.Request) {
		h := sha256.New()
		_, _ = io.CopyN(h, Bytes(uint64(number(r, "seed"))), number(r, "n"))
		fmt.Fprintf(w, "%x\n", h.Sum(nil))
	})
	mux.HandleFunc("/upload", func(w http.ResponseWriter, r *http.Request) {
		h := sha256.New()
		n, err := io.Copy(h, r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprintf(w, "%d %x\n", n, h.Sum(nil))
	})
	mux.HandleFunc("/ws", echoWebSocket)
	mux.HandleFunc("/headers", func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(r.Header)
	})
	mux.HandleFunc("/status", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(int(min(max(number(r, "code"), 200), 599)))
	})
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(time.Duration(number(r, "ms")) * time.Millisecond):
			fmt.Fprintln(w, "late")
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("/halfclosed", func(w http.ResponseWriter, r *http.Request) {
		l.halfClosed.mu.Lock()
		sum, ok := l.halfClosed.sums[r.FormValue("token")]
		l.halfClosed.mu.Unlock()
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, sum)
	})
	return mux
}

// number reads a parameter. A missing or malformed one is 0.
func number(r *http.Request, name string) int64 {
	n, _ := strconv.ParseInt(r.FormValue(name), 10, 64)
	return max(n, 0)
}

func echoWebSocket(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer c.CloseNow()
	c.SetReadLimit(16 << 20)
	for {
		kind, text, err := c.Read(r.Context())
		if err != nil {
			return
		}
		if err := c.Write(r.Context(), kind, text); err != nil {
			return
		}
	}
}

func (l *Lab) startWeb(context.Context) error {
	cert, _, _, err := l.ca.issue(webName, "www."+Zone, "*.apps."+Zone)
	if err != nil {
		return err
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}}
	addr, plain, perr := l.place(webAddr, 80)
	_, secure, serr := l.place(webAddr, 443)
	if err := errors.Join(perr, serr); err != nil {
		return err
	}
	addrs := []string{addr}
	if !l.opts.Loopback {
		addrs = append(addrs, webAddr6)
	}
	for _, a := range addrs {
		if err := l.serveHTTP(l.Corp, a, plain, l.handler(), nil); err != nil {
			return err
		}
		if err := l.serveHTTP(l.Corp, a, secure, l.handler(), config); err != nil {
			return err
		}
	}
	l.setInfo(func(i *Info) {
		i.Web = &WebInfo{Host: webName, Address: addr, HTTPPort: plain, HTTPSPort: secure}
	})
	return nil
}

// startPublic serves the web server that cloud reaches without Causeway.
func (l *Lab) startPublic(context.Context) error {
	l.setInfo(func(i *Info) {
		i.Public = &PublicInfo{URL: "http://" + PublicName + "/", Host: PublicName, Address: publicAddr}
	})
	return l.serveHTTP(l.Internet, publicAddr, 80, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		fmt.Fprintf(w, "public, asked by %s\n", host)
	}), nil)
}

func (l *Lab) serveHTTP(h *Host, addr string, port int, handler http.Handler, config *tls.Config) error {
	ln, err := h.Listen("tcp", net.JoinHostPort(addr, strconv.Itoa(port)))
	if err != nil {
		return err
	}
	s := &http.Server{
		Handler: handler, TLSConfig: config.Clone(),
		ReadHeaderTimeout: 15 * time.Minute,           // longer than sessions wait for links that were cut before a request
		ErrorLog:          log.New(io.Discard, "", 0), // tests break connections all the time
		BaseContext:       func(net.Listener) context.Context { return l.ctx },
	}
	done := make(chan error, 1)
	go func() {
		if config != nil {
			done <- s.ServeTLS(ln, "", "")
		} else {
			done <- s.Serve(ln)
		}
	}()
	l.onClose(func() error {
		_ = s.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	return nil
}
