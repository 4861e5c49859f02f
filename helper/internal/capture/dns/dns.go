// Package dns is the stub resolver of the remote. While it runs, it is the first
// nameserver in resolv.conf. For names of resources it answers with the addresses at
// which they are served there, and with the gateway's answer for other types of
// record. All other questions go unchanged to the nameservers that were in
// resolv.conf before.
package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/causeway-dev/causeway/helper/internal/capture/flow"
	"github.com/causeway-dev/causeway/helper/internal/capture/hostnet"
	"github.com/causeway-dev/causeway/helper/internal/capture/owner"
	"github.com/causeway-dev/causeway/helper/internal/records"
	"github.com/rs/zerolog"
)

// Names serves names at addresses of the remote; a names.Source is one.
type Names interface {
	Address(name string) (netip.Addr, error)
	// Address6 is Address for IPv6. It returns the zero Addr if no name has an IPv6
	// address.
	Address6(name string) (netip.Addr, error)
	NameOf(a netip.Addr) (string, bool)
	SpareAddress(n int) netip.Addr
	FoundByDNS(yes bool)
}

// Editor edits resolv.conf; a hostnet.Host is one.
type Editor interface {
	SetResolver(ctx context.Context, addr netip.Addr) error
	ListenUDP(ctx context.Context, at netip.AddrPort) (net.PacketConn, error)
	ListenTCP(ctx context.Context, at netip.AddrPort) (net.Listener, error)
	Done() <-chan struct{}
	Err() error
	Close() error
}

// Options of a Source. All but Log, Port, Retry and Changed are required.
type Options struct {
	Log     zerolog.Logger
	Gateway *flow.Gateway
	Names   Names
	// Covers tells whether a resource covers a name, or an address in its place.
	Covers func(host string) bool
	// Exact tells whether a name is a resource of its own. Other names are below a
	// wildcard: if the gateway does not know them, the nameservers may.
	Exact func(name string) bool
	// Asleep tells whether the gateway will not answer soon. A question about a name
	// below a wildcard then fails at once: it may be a public name with a search domain
	// behind it. Nil: the gateway always may.
	Asleep func() bool
	// Check and CheckUDP tell who asks. If they refuse, the nameservers answer.
	Check    func(net.Conn) (owner.Owner, error)
	CheckUDP func(local, remote netip.AddrPort) (owner.Owner, error)
	// StartEditor begins to edit ResolvPath. It is not called if there is a Place.
	StartEditor func(context.Context) (Editor, error)
	// Place is where clients reach the stub; nil: on loopback, by resolv.conf.
	Place      *Place
	ResolvPath string
	Port       uint16 // 0 means 53, the only one that resolv.conf can name
	// Retry is how often the Source looks whether the editor is still there; 0 means
	// 1 s.
	Retry time.Duration
	// Changed is called after Note has changed, if not nil. It must not block.
	Changed func()
}

// Place is where the clients of a bridge reach the stub. The checks decide which
// clients are served. Clients are configured with its address: no file is edited.
type Place struct {
	Device string // the stub answers only what arrives by it
	Addr   netip.Addr
	// Low opens the port if this process lacks the right; nil: nothing does.
	Low Low
}

// Low opens ports below 1024.
type Low interface {
	ListenUDP(ctx context.Context, at netip.AddrPort) (net.PacketConn, error)
	ListenTCP(ctx context.Context, at netip.AddrPort) (net.Listener, error)
}

// Source is the stub resolver. It is safe for concurrent use.
type Source struct {
	o     Options
	cache *records.Cache
	up    upstreams
	// A slot for each question under way. Questions for the nameservers have slots of
	// their own, so that silent nameservers do not block the names of resources.
	own, others chan struct{}

	ctx  context.Context // alive until Close
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu        sync.Mutex // held while the stub is set up or taken down
	wanted    bool
	watching  bool
	at        netip.AddrPort // of the stub; zero while it does not run
	udp       net.PacketConn
	tcp       net.Listener
	editor    Editor
	restarted bool
	note      string
}

const maxQuestions = 512 // of either kind; the stub drops more

// New returns a Source that does nothing yet.
func New(o Options) *Source {
	if o.Port == 0 {
		o.Port = 53
	}
	if o.Retry == 0 {
		o.Retry = time.Second
	}
	s := &Source{o: o, cache: records.NewCache(), own: make(chan struct{}, maxQuestions), others: make(chan struct{}, maxQuestions)}
	s.up.path = o.ResolvPath
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s
}

// Apply starts or stops the stub, and clears the cache, whose answers belong to
// earlier resources. It returns when resolv.conf is up to date.
func (s *Source) Apply(stand bool) {
	s.cache.Clear()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil || s.wanted == stand {
		return
	}
	s.wanted = stand
	if !stand {
		if err := s.takeDown(); err != nil {
			s.o.Log.Warn().Err(err).Msg("resolv.conf not put back")
		}
		s.setNote("")
		return
	}
	s.restarted = false
	s.setUp()
	if !s.watching {
		s.watching = true
		s.wg.Go(s.watch)
	}
}

// Note is a sentence for the user on why there is no stub resolver, or "".
func (s *Source) Note() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.note
}

// Close puts resolv.conf back, stops answering, and waits for it.
func (s *Source) Close() error {
	s.mu.Lock()
	err := s.takeDown()
	s.stop()
	s.mu.Unlock()
	s.wg.Wait()
	return err
}

// setUp starts the stub, or notes why it cannot. The caller holds s.mu.
func (s *Source) setUp() {
	err := s.begin()
	if err == nil {
		s.o.Log.Info().Stringer("at", s.at).Msg("stub resolver")
		s.setNote("")
		s.o.Names.FoundByDNS(true)
		return
	}
	_ = s.takeDown()
	s.o.Log.Warn().Err(err).Msg("no stub resolver")
	if s.o.Place != nil {
		s.setNote(err.Error())
		return
	}
	s.setNote(err.Error() + ": programs find no names below a domain, and no records other than addresses")
}

// begin opens the sockets and only then points resolv.conf at them.
func (s *Source) begin() error {
	ctx, cancel := context.WithTimeout(s.ctx, 15*time.Second)
	defer cancel()
	if s.o.Place != nil {
		if s.at.IsValid() {
			return nil
		}
		return s.listen(ctx)
	}
	if s.editor == nil {
		editor, err := s.o.StartEditor(ctx)
		if err != nil {
			return err
		}
		s.editor = editor
	}
	if !s.at.IsValid() {
		if err := s.listen(ctx); err != nil {
			return err
		}
	}
	return s.editor.SetResolver(ctx, s.at.Addr())
}

// tries is how many addresses listen tries: another capture of this user may have the
// first ones.
const tries = 8

func (s *Source) listen(ctx context.Context) error {
	var err error
	for n := range tries {
		at := netip.AddrPortFrom(s.o.Names.SpareAddress(n), s.o.Port)
		if s.o.Place != nil {
			at = netip.AddrPortFrom(s.o.Place.Addr, s.o.Port)
		}
		if err = s.listenAt(ctx, at); err == nil {
			s.at = at
			s.up.own.Store(&at)
			udp, tcp := s.udp, s.tcp
			s.wg.Go(func() { s.serveUDP(udp.(*net.UDPConn), at) })
			s.wg.Go(func() { s.serveTCP(tcp) })
			return nil
		}
	}
	return fmt.Errorf("cannot listen on port %d: %w", s.o.Port, err)
}

// listenAt opens both sockets. If this process lacks the right, the editor opens
// them.
func (s *Source) listenAt(ctx context.Context, at netip.AddrPort) error {
	var c net.ListenConfig
	low := Low(s.editor)
	if s.o.Place != nil {
		c.Control, low = hostnet.BindTo(s.o.Place.Device), s.o.Place.Low
	}
	udp, err := c.ListenPacket(ctx, "udp4", at.String())
	if errors.Is(err, os.ErrPermission) && low != nil {
		udp, err = low.ListenUDP(ctx, at)
	}
	if err != nil {
		return err
	}
	tcp, err := c.Listen(ctx, "tcp4", at.String())
	if errors.Is(err, os.ErrPermission) && low != nil {
		tcp, err = low.ListenTCP(ctx, at)
	}
	if err != nil {
		_ = udp.Close()
		return err
	}
	s.udp, s.tcp = udp, tcp
	return nil
}

// takeDown puts resolv.conf back before it closes the sockets. The caller holds s.mu.
func (s *Source) takeDown() error {
	var err error
	if s.editor != nil {
		err = s.editor.Close()
		s.editor = nil
	}
	if s.at.IsValid() {
		s.o.Names.FoundByDNS(false)
		_, _ = s.udp.Close(), s.tcp.Close()
		s.at, s.udp, s.tcp = netip.AddrPort{}, nil, nil
	}
	return err
}

// watch starts the editor again, once, if it has ended. What the editor left in
// resolv.conf still leads to the stub.
func (s *Source) watch() {
	t := time.NewTicker(s.o.Retry)
	defer t.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-t.C:
		}
		s.mu.Lock()
		if s.editor != nil && isDone(s.editor) {
			err := s.editor.Err()
			_ = s.editor.Close()
			s.editor = nil
			if again := !s.restarted; again {
				s.restarted = true
				s.setUp()
			} else {
				_ = s.takeDown()
				s.setNote(fmt.Sprintf("lost resolv.conf (%v): programs find no names below a domain", err))
			}
		}
		s.mu.Unlock()
	}
}

func isDone(e Editor) bool {
	select {
	case <-e.Done():
		return true
	default:
		return false
	}
}

func (s *Source) setNote(note string) {
	if s.note == note {
		return
	}
	s.note = note
	if s.o.Changed != nil {
		s.o.Changed()
	}
}
