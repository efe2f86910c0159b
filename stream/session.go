package stream

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// Session is one MQTT session across any number of connections. Its methods can
// be called from any goroutine.
type Session struct {
	// Set by Open and never changed.
	options   Options
	endpoints []*endpoint // the URL's, then the Fallbacks, in an order of this session's own
	epoch     time.Time   // what the loop's clock counts from

	// From users to the loop. None is ever closed.
	publishes chan Publishing
	intakes   chan intake
	calls     chan func(*loop)
	pokes     chan struct{} // cap 1: something in a shared list, or room in an inbox

	// Between the loop and its two helpers. The loop closes batches and quit, and
	// makes batches and writes anew with each writer.
	events  chan event
	batches chan batch   // cap 1
	writes  chan written // cap 1
	quit    chan struct{}
	core    sync.WaitGroup // dialer, reader and writer

	// The reader's, topic names met before, and the dialer's, the endpoint that took
	// a connection last.
	topics frames.Topics
	good   int

	// The end, in order. The loop closes all but closing.
	closing    chan struct{} // Close or Shutdown wants it
	intakeEnds chan struct{} // nothing more is accepted
	ending     chan struct{} // the loop takes no more calls
	done       chan struct{} // every goroutine is gone
	closeOnce  sync.Once

	// Shared, each with a lock of its own.
	boxes     *boxes
	unclaimed *inbox // what no Subscription claims
	settler   *settler
	board     *board
	takers    takers
	waiters   waiters

	mu       sync.Mutex
	group    sync.WaitGroup // goroutines that serve one channel of a user
	disband  bool           // no more of them
	fatal    error          // why the session ended by itself
	closeErr error          // what Close returns
	last     *Stats         // set before done is closed
}

// Open starts a session and does not wait for the broker. The error is about
// the arguments or the Store.
func Open(rawURL string, o *Options) (*Session, error) { return open(rawURL, o, nil) }

func open(rawURL string, o *Options, first chan<- error) (*Session, error) {
	var fallbacks []string
	if o != nil {
		fallbacks = o.Fallbacks
	}
	endpoints, err := parseEndpoints(rawURL, fallbacks)
	if err != nil {
		return nil, err
	}
	options, err := o.withDefaults(endpoints)
	if err != nil {
		return nil, err
	}
	others := endpoints[1:]
	rand.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
	s := &Session{
		options:    options,
		endpoints:  endpoints,
		epoch:      time.Now(),
		publishes:  make(chan Publishing),
		intakes:    make(chan intake),
		calls:      make(chan func(*loop)),
		pokes:      make(chan struct{}, 1),
		events:     make(chan event),
		quit:       make(chan struct{}),
		closing:    make(chan struct{}),
		intakeEnds: make(chan struct{}),
		ending:     make(chan struct{}),
		done:       make(chan struct{}),
		takers:     takers{abandon: make(chan struct{})},
		board:      newBoard(endpoints[0].String()),
	}
	s.boxes = newBoxes(options.ReceiveBytes, s.poke)
	s.unclaimed = newInbox(s)
	s.settler = &settler{poke: s.poke}
	l := newLoop(s, first)
	if err := l.attach(); err != nil {
		return nil, err
	}
	go l.run()
	return s, nil
}

// Dial is Open, and waits for the first connection. If the first attempt fails,
// or ctx ends before it has succeeded, the session is closed and the error
// says why. ctx bounds Dial only.
func Dial(ctx context.Context, rawURL string, o *Options) (*Session, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	first := make(chan error, 1)
	s, err := open(rawURL, o, first)
	if err != nil {
		return nil, err
	}
	select {
	case err = <-first:
	case <-ctx.Done():
		select {
		case err = <-first: // a ready result beats an ended context
		default:
			err = context.Cause(ctx)
		}
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// poke wakes the loop to look at what others have left for it.
func (s *Session) poke() {
	select {
	case s.pokes <- struct{}{}:
	default:
	}
}

// call runs f on the loop and waits for it; false when the session is ending.
func (s *Session) call(f func(*loop)) bool {
	ran := make(chan struct{})
	select {
	case s.calls <- func(l *loop) { f(l); close(ran) }:
		<-ran
		return true
	case <-s.ending:
		return false
	}
}

// start runs f on a goroutine that Close waits for; false when it is too late.
func (s *Session) start(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.disband {
		return false
	}
	s.group.Go(f)
	return true
}

// endedBy is ErrClosed, with the reason if the session ended by itself.
func (s *Session) endedBy() error {
	if err := s.Err(); err != nil {
		return &ended{ErrClosed, err}
	}
	return ErrClosed
}

// Err returns nil while the session runs and after Close; otherwise why it ended.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fatal
}

// Done returns a channel that is closed when the session has ended: all its
// channels are closed, all its goroutines are gone.
func (s *Session) Done() <-chan struct{} { return s.done }

// Messages is Subscription.Messages for what no Subscription claims.
func (s *Session) Messages() <-chan frames.Message { return s.unclaimed.Messages() }

// Deliveries is Subscription.Deliveries for what no Subscription claims.
func (s *Session) Deliveries() <-chan Delivery { return s.unclaimed.Deliveries() }

// All is Subscription.All for what no Subscription claims.
func (s *Session) All(ctx context.Context) iter.Seq2[Delivery, error] { return s.unclaimed.All(ctx) }

// attach takes over the session that the Store holds.
func (l *loop) attach() error {
	o := &l.s.options
	if o.Store == nil {
		return nil
	}
	snap, err := o.Store.Attach(o.ClientID)
	if err != nil {
		return fmt.Errorf("mqtt: store: %w", err)
	}
	if !o.KeepSession {
		return l.discard(snap)
	}
	for _, p := range snap.Publications {
		err := p.Message.Validate(o.Version)
		if err == nil && !l.sender.Restore(p, owner{ack: o.Ack}) {
			err = errors.New("its place, QoS or identifier is not what a sound store gives")
		}
		if err != nil {
			err = fmt.Errorf("mqtt: store: publication %d with packet identifier %d: %w", p.Seq, p.ID, err)
			return errors.Join(err, o.Store.Detach())
		}
	}
	for _, id := range snap.Received {
		l.receiver.Restore(id)
	}
	return nil
}

// discard ends the session that a store holds for a client that wants a clean
// one [MQTT-3.1.2-6], and tells its owner what became of the publications.
func (l *loop) discard(snap flow.Snapshot) error {
	if snap.Empty() {
		return nil
	}
	o := &l.s.options
	if err := o.Store.Commit([]flow.Change{{Kind: flow.Cleared}}); err != nil {
		return errors.Join(fmt.Errorf("mqtt: store: %w", err), o.Store.Detach())
	}
	l.log.Warn("clean session on a store that held one: it was discarded",
		"publications", len(snap.Publications), "received", len(snap.Received))
	for _, p := range snap.Publications {
		fate := notSent(errDiscarded)
		if p.ID != 0 {
			fate = unconfirmed(errDiscarded)
		}
		l.receipt(owner{ack: o.Ack}, Receipt{Message: p.Message, ID: p.ID, Err: fate})
	}
	return nil
}

var errDiscarded = errors.New("a clean session discarded the stored one")
