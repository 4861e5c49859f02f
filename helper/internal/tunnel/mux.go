package tunnel

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"time"

	"github.com/hashicorp/yamux"
	"github.com/rs/zerolog"
)

// guard is the connection below yamux. It lets nothing pass that the police forbid.
// It also ends the session before yamux learns that its connection has failed: yamux
// lets the readers of all streams spin from then on until it has closed each, which
// takes very long with many streams. Without readers none spin.
type guard struct {
	net.Conn
	s    *Session
	held []byte // the beginning of a frame that has come in part
}

func (g *guard) Read(p []byte) (int, error) {
	// The readers of the streams run first. Otherwise yamux copies all that has come
	// into a stream's buffer before its reader empties it, and the buffer grows.
	runtime.Gosched()
	if len(g.held) > 0 {
		g.s.police.waitEmptied()
		n := copy(p, g.held)
		g.held = g.held[n:]
		return n, nil
	}
	n, err := 0, g.s.police.wait()
	if err == nil {
		n, err = g.Conn.Read(p)
	}
	whole, offence := g.s.police.read(p[:n])
	if offence != nil {
		err = offence
	}
	if err != nil {
		g.s.end(err)
		return 0, err
	}
	if whole == 0 {
		g.s.police.waitEmptied()
		return n, nil
	}
	g.held = append(g.held[:0], p[whole:n]...)
	return whole, nil
}

// Close tells the peer, if the connection can, how it broke the protocol.
func (g *guard) Close() error {
	g.s.end(net.ErrClosed) // if yamux gives up by itself
	if offence, ok := errors.AsType[*breach](g.s.Err()); ok {
		if c, ok := g.Conn.(interface{ CloseWithReason(string) error }); ok {
			return c.CloseWithReason(offence.Error())
		}
	}
	return g.Conn.Close()
}

func (g *guard) Write(p []byte) (int, error) {
	g.s.police.wrote(p)
	n, err := g.Conn.Write(p)
	if err != nil {
		g.s.end(err)
	}
	return n, err
}

// raw is a stream of yamux whose reader tells the police what it takes.
type raw struct {
	*yamux.Stream
	police *police
}

func (r *raw) Read(p []byte) (int, error) {
	n, err := r.Stream.Read(p)
	if n > 0 && r.police.took(r.StreamID(), n) {
		r.Shrink()
	}
	return n, err
}

// Shrink gives the buffer of an idle stream back. It waits while a frame has come
// in part.
func (r *raw) Shrink() {
	r.Stream.Shrink()
	r.police.shrunk(r.StreamID())
}

// tidyLater runs tidy after idleAfter, unless that is planned already.
func (s *Session) tidyLater() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tidying || s.err != nil {
		return
	}
	s.tidying = true
	time.AfterFunc(idleAfter, func() { s.spawn(s.tidy) })
}

// tidy frees the multiplexer's buffers of flows that receive nothing. Such a buffer
// stays as large as the flow's greatest backlog was. Buffers in use stay: a new one
// for every message would cost more than everything else.
func (s *Session) tidy() {
	var idle []*Stream
	again := false
	s.mu.Lock()
	s.tidying = false
	for st := range s.streams {
		if st.moved.Swap(false) {
			again = true
		} else {
			idle = append(idle, st)
		}
	}
	s.mu.Unlock()
	for _, st := range idle {
		st.raw.Shrink()
	}
	if again {
		s.tidyLater()
	}
}

// muxLogger turns yamux's lines into log events. They matter only for debugging.
type muxLogger struct{ log zerolog.Logger }

func (l muxLogger) Print(v ...any)            { l.log.Debug().Msg(fmt.Sprint(v...)) }
func (l muxLogger) Printf(f string, v ...any) { l.log.Debug().Msgf(f, v...) }
func (l muxLogger) Println(v ...any)          { l.log.Debug().Msg(fmt.Sprint(v...)) }
