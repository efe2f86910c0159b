package stream

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/stream/internal/link"
)

// Open starts a session and does not wait for the broker. It returns an error only for bad
// arguments or a failing Store.
func Open(rawURL string, o *Options) (*Session, error) { return openSession(rawURL, o, nil) }

func openSession(rawURL string, o *Options, first chan<- error) (*Session, error) {
	var fallbacks []string
	if o != nil {
		fallbacks = o.Fallbacks
	}
	endpoints, err := link.ParseEndpoints(rawURL, fallbacks)
	if err != nil {
		return nil, err
	}
	options, err := o.withDefaults(endpoints)
	if err != nil {
		return nil, err
	}
	s := &Session{
		settings: options.settings(),
		counts:   newReceiptCounts(),
		life:     newLife(),
	}
	var watching *observer
	watching, options.Logger = newObserver(options.Observer, options.Logger, s.life)
	s.calls = &publishCalls{wake: s.life.waker}
	s.inboxes = newInboxes(options.ReceiveBytes, highWater(options.ReceiveBytes), s.life)
	l := newLoop(s, &options, endpoints, watching, first)
	s.publishes, s.states = l.intake.publishes, l.link.states
	if base := options.V5.ReplyTopic; base != "" {
		l.receipts.replies = &replies{base: base}
		s.requests.Store(l.receipts.replies)
	}
	if err := restore(&options, l.sender.Sender, l.receiver.Receiver, &l.receipts, &l.link); err != nil {
		return nil, err
	}
	l.link.dialNow()
	l.count.attempts++
	l.clock.arm(l.sender.ExpiresAt()) // publications of a Store
	go l.run()
	return s, nil
}

// newLoop makes the loop of a session and its owners.
func newLoop(s *Session, o *Options, endpoints []*link.Endpoint, watching *observer, first chan<- error) *loop {
	var journal *flow.Journal
	if o.KeepSession && o.Store != nil {
		journal = new(flow.Journal)
	}
	ids := new(flow.Identifiers)
	shown := endpoints[0].String()
	others := endpoints[1:]
	rand.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
	dialer := link.NewDialer(o.linkConfig(), endpoints)
	backoff := flow.NewBackoff(o.Reconnect, func(n time.Duration) time.Duration { return rand.N(n) })
	l := &loop{
		settings: &s.settings,
		commands: &s.commands,
		life:     s.life,
		lone:     &s.lone,
		clock:    newClock(s.life.waker),
		log:      packetLog{Logger: o.Logger},
		sender: sender{
			Sender: flow.NewSender[owner](o.Window, ids, o.Retry, journal), poison: flow.NewPoison(o.GiveUp),
			overflow: overflow{full: o.Full, limit: o.QueueBytes, log: o.Logger},
		},
		receiver: receiver{Receiver: flow.NewReceiver(journal), slowConsumer: o.SlowConsumer},
		timings:  &s.timings,
		observer: watching,
		subs:     flow.NewSubscriptions[*filterSet](ids, o.Retry, o.KeepSession),
		intake:   newIntake(o.Full != flow.Block, s.calls),
		receipts: receipts{counts: s.counts, calls: s.calls, life: s.life, log: o.Logger},
		inboxes:  s.inboxes,
		throttle: throttle{limit: o.ReceiveBytes, maxUnread: o.MaxUnread},
		link:     newConnection(newReader(dialer, o.V5.inboundAliases(), &s.inboxes.spares), wantedTerms(o), backoff, shown, first),
	}
	l.receipts.outcomes = outcomes{clock: &l.clock, timings: l.timings, observer: l.observer}
	l.sender.Limit(flow.QueueLimit{Messages: o.Queue, Bytes: o.QueueBytes, Full: o.Full})
	l.outbox = newOutbox(&l.log, o.Store, journal)
	l.outbox.writer.timings = l.timings
	*s.inboxes.hands = handovers{clock: &l.clock, timings: l.timings, observer: l.observer}
	l.lone.begin(o.Logger, l.writeLone)
	l.subs.Identify(rand.Uint32())
	if o.V5.Authenticate != nil {
		l.link.reauth = &reauth{authenticate: o.V5.Authenticate, limit: o.ConnectTimeout, life: s.life, tell: s.authenticated}
	}
	return l
}

// Dial opens a session as Open does and waits for the first connection. If the first attempt fails,
// or ctx ends before the attempt has succeeded, Dial closes the session and returns the reason. ctx
// bounds the call of Dial, not the session.
func Dial(ctx context.Context, rawURL string, o *Options) (*Session, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	first := make(chan error, 1)
	s, err := openSession(rawURL, o, first)
	if err != nil {
		return nil, err
	}
	select {
	case err = <-first:
	case <-ctx.Done():
		select {
		case err = <-first: // a ready result beats an ended context
		default:
			err = gaveUp(ctx, s.states.reason("the connection has just been made"))
		}
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}
