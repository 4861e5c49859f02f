//go:build linux

package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// ForwardVariable is the variable of the editor's environment that names the socket
// of its Forwarder. Only the test build of the UI extension reads it.
const ForwardVariable = "CAUSEWAY_LAB_FORWARD"

// Forwarder stands for the desktop's asExternalUri. It forwards ports of laptop's
// loopback to ports of cloud's loopback, each once, through relays that a test can
// make misbehave.
type Forwarder struct {
	laptop, cloud *Host

	mu     sync.Mutex
	relays map[int]*Relay
	asked  int
	answer string // the answer to give in place of the URL; "" is none
}

// ForwarderState describes the forwards of a Forwarder.
type ForwarderState struct {
	Asked    int                `json:"asked"`
	Forwards map[int]RelayState `json:"forwards"` // by cloud's port
}

// Open returns the URL through which laptop reaches port.
func (f *Forwarder) Open(port int) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	if f.answer != "" {
		return strings.ReplaceAll(f.answer, "PORT", strconv.Itoa(port)), nil
	}
	r := f.relays[port]
	if r == nil {
		ln, err := f.laptop.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		far := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		r = NewRelay(ln, func(ctx context.Context) (net.Conn, error) { return f.cloud.Dial(ctx, "tcp", far) })
		f.relays[port] = r
	}
	return fmt.Sprintf("http://%s/", r.Addr()), nil
}

// State returns the forwards so far.
func (f *Forwarder) State() ForwarderState {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := ForwarderState{Asked: f.asked, Forwards: map[int]RelayState{}}
	for port, r := range f.relays {
		s.Forwards[port] = r.State()
	}
	return s
}

// Close ends all forwards.
func (f *Forwarder) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.relays {
		_ = r.Close()
	}
	return nil
}

// ServeHTTP serves the editor and the test:
//
//	GET  /                  its state as JSON
//	POST /open?port=N       answers with the URL
//	POST /answer?url=URL    answers with URL from now on, with the port in place of PORT; "" ends that
//
// and for all forwards the requests of a Relay.
func (f *Forwarder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	switch req.URL.Path {
	case "/open":
		port, err := strconv.ParseUint(req.FormValue("port"), 10, 16)
		url := ""
		if err == nil {
			url, err = f.Open(int(port))
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_, _ = fmt.Fprint(w, url)
		return
	case "/answer":
		f.mu.Lock()
		f.answer = req.FormValue("url")
		f.mu.Unlock()
	case "/":
	default:
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, r := range f.relays {
			if !r.control(req) {
				http.Error(w, "no such action", http.StatusBadRequest)
				return
			}
		}
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(f.State())
}
