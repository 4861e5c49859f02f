//go:build linux

package lab

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// ServeHTTP controls the relay:
//
//	GET  /                        its state as JSON
//	POST /cut /stall /resume
//	POST /slow?rate=BYTES&delay=MS&inflight=BYTES
//
// Each POST answers with the state as well.
func (r *Relay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.URL.Path != "/" {
		if req.Method != http.MethodPost {
			http.Error(w, "use POST", http.StatusMethodNotAllowed)
			return
		}
		if !r.control(req) {
			http.Error(w, "expected /cut, /stall, /resume or /slow?rate=BYTES&delay=MS&inflight=BYTES", http.StatusBadRequest)
			return
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(r.State())
}

func (r *Relay) control(req *http.Request) bool {
	switch req.URL.Path {
	case "/cut":
		r.Cut()
	case "/stall":
		r.Stall()
	case "/resume":
		r.Resume()
	case "/slow":
		rate, rerr := strconv.ParseInt(zeroIfEmpty(req.FormValue("rate")), 10, 64)
		delay, derr := strconv.ParseInt(zeroIfEmpty(req.FormValue("delay")), 10, 64)
		inFlight, ierr := strconv.ParseInt(zeroIfEmpty(req.FormValue("inflight")), 10, 64)
		if rerr != nil || derr != nil || ierr != nil || rate < 0 || delay < 0 || inFlight < 0 {
			return false
		}
		r.Slow(rate, time.Duration(delay)*time.Millisecond)
		r.Bound(inFlight)
	default:
		return false
	}
	return true
}

func zeroIfEmpty(s string) string {
	if s == "" {
		return "0"
	}
	return s
}
