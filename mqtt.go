// Package mqtt is an MQTT 3.1 and 3.1.1 client whose interface is typed
// channels: messages come in over channels that you range over or select on,
// publishings go out over a channel, and each of them gets exactly one Receipt.
//
//	client, err := mqtt.Dial(ctx, "mqtt://localhost:1883", nil)
//	if err != nil {
//		return err
//	}
//	defer client.Close()
//	sub, err := client.Subscribe(ctx, mqtt.Filter{Topic: "plant/+/temperature", QoS: mqtt.AtLeastOnce})
//	if err != nil {
//		return err
//	}
//	for d, err := range sub.All(ctx) {
//		if err != nil {
//			return err
//		}
//		fmt.Printf("%s: %s\n", d.Topic, d.Payload)
//	}
//
// # Channels
//
// The library closes the channels that it gives out, each once and after its
// last value. It never closes or probes a channel of yours; do not close one
// that it may still send to.
//
//	channel                who sends       who closes                      what bounds it
//	Client.Publishes       you             nobody; select it with Done     unbuffered; blocks while Options.Queue is full
//	PublishFrom, input     you             you: that ends the stage        yours
//	PublishFrom, output    the stage       the stage, when all has ended   256 to 1,024, by Window+Queue, and at most that many in the stage; then it stops reading its input
//	Publishing.Ack         the client      nobody                          yours; what it cannot take waits, without bound, and holds up nobody else
//	Messages               a feeder        the feeder                      unbuffered: the hand-off settles the message
//	Deliveries             a feeder        the feeder                      256; then Options.ReceiveBytes, as for all inbound
//	Subscribe[T]           a feeder        the feeder                      as Deliveries
//	States                 the client      the client, at the end of ctx   1: the newest state replaces one not taken
//	Online, Done           nobody          the client                      levels
//
// Receive channels close when the client or their Subscription ends; for range,
// then Err, tells why. A client has at most three goroutines, one more for each
// receive channel or stage in use, and one for each Ack channel that lags. Close
// returns when all are gone.
//
// # Errors
//
// Each failure has one route: the return value, Receipt.Err, State.Err or Err.
// What became of a message:
//
//	error                           the message
//	nil                             QoS 0 was written to the connection; QoS 1 has its PUBACK, QoS 2 its PUBCOMP
//	ErrNotSent                      nothing of it left, and nothing will: it is yours to send again
//	ErrUnconfirmed                  it may have arrived; with KeepSession and a Store the next client goes on trying
//	*DowngradedError                it arrived at QoS 1, though QoS 2 was asked for
//
// Errors of this package come wrapped with their reason: use errors.Is and
// errors.As. ErrClosed, the end of the client, wraps net.ErrClosed. A refused
// connection is a *ConnectError that wraps its code, so that
// errors.Is(err, mqtt.NotAuthorized) tells the reason; a WebSocket server that
// answers with another status than 101 gives a *HTTPError; errors of crypto/tls,
// crypto/x509 and package net are there for errors.As; refused topic filters are
// a *RefusedError. A mistake in an argument is reported by the call that made
// it, before anything is sent, and names the field and the limit.
//
// A broker that breaks the standard loses the connection at once, without
// DISCONNECT; the error is in State.Err and in the calls that it ends, and the
// session goes on with the next connection.
//
// # Order and delivery
//
// Publications leave in the order in which they were accepted. With KeepSession
// those in flight when a connection ends are sent again on the next one, in the
// same order, with their identifiers and DUP; without, they end. With Window 1
// nothing can overtake on the way either. Inbound, each Subscription gets its
// messages in order of arrival. Acks leave in order of arrival whatever the
// order of settling: a consumer that sits on one message holds back the acks of
// all later ones, those of other Subscriptions too, and a broker stops sending
// QoS 1 and 2 when it has as many unacknowledged as it allows (mosquitto: 20).
// Consumers that may sleep for long belong into clients of their own. Nothing at
// QoS 1 or 2 is ever dropped; QoS 0 is, oldest first, when more than
// Options.ReceiveBytes waits, and Stats.Dropped counts it.
//
// No consumer can block the client: it goes on pinging, publishing, handing out
// Receipts and whatever the broker sends to others, and Close works, whoever
// sleeps.
//
// # Sessions
//
// With Options.KeepSession the session outlives the connection, with a Store
// (NewMemoryStore) the client, and with the store of flow/boltstore the process:
// it holds the publications that were accepted and have not ended, in order, and
// the identifiers of QoS 2 messages that were taken. What depends on a change
// leaves only when the change is in the store; one commit serves a batch. Open
// takes over what it finds: Stats counts it, Flush waits for it, Options.Ack
// takes its Receipts, and it goes out in front of all that is new. A send on
// Publishes that has returned is in memory, and an Ack is on its way: Sync
// returns when both are in the store, and from then on a kill costs nothing. (A
// hand-off over Messages settles a moment after it, so Sync may not wait for it.) A
// publication that the store cannot take ends with ErrNotSent and the reason; the
// connection is made anew, since nothing may leave that is not stored.
//
// # Where to read on
//
// Most types are aliases. Their fields and methods are documented in package
// stream (go doc github.com/go-millrace/mqtt/stream Options, and Subscription,
// Delivery, Stats and so on), those of the standard in package frames.
package mqtt

import (
	"context"
	"encoding/json"
	"iter"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
)

// The terms of the standard.
type (
	// Version is V31 or V311.
	Version = frames.Version

	// QoS is AtMostOnce, AtLeastOnce or ExactlyOnce (section 4.3).
	QoS = frames.QoS

	// Message has Topic, Payload, QoS and Retain. Clone copies the payload.
	// What you publish is not to be written to before its Receipt; what you
	// receive may share its memory with other messages.
	Message = frames.Message

	// Filter is a topic filter, wildcards allowed, and the QoS wanted for it.
	Filter = frames.Filter

	// ReasonCode tells why a broker refused a request; compare with errors.Is.
	ReasonCode = frames.ReasonCode
)

// Versions, QoS levels and refusal codes.
const (
	V31  = frames.V31
	V311 = frames.V311

	AtMostOnce  = frames.AtMostOnce
	AtLeastOnce = frames.AtLeastOnce
	ExactlyOnce = frames.ExactlyOnce

	UnsupportedProtocolVersion = frames.UnsupportedProtocolVersion
	ClientIdentifierNotValid   = frames.ClientIdentifierNotValid
	ServerUnavailable          = frames.ServerUnavailable
	BadUserNameOrPassword      = frames.BadUserNameOrPassword
	NotAuthorized              = frames.NotAuthorized
)

// What passes through the channels.
type (
	// Options configure Open and Dial. The zero value, and nil, are ready to use.
	Options = stream.Options

	// Delivery is a Message that is yours to settle with Ack: once or more, from
	// any goroutine, in any order, at any time. Duplicate is the DUP flag.
	Delivery = stream.Delivery

	// Publishing is a Message for Publishes, with a Tag that comes back in the
	// Receipt and the Ack channel that takes it.
	Publishing = stream.Publishing

	// Receipt is the end of a publication: Message, Tag, ID (the packet
	// identifier) and Err.
	Receipt = stream.Receipt

	// State is where the connection stands: Online, Resumed, Attempt, Err,
	// Since, Endpoint.
	State = stream.State

	// Stats are counters and gauges of a client.
	Stats = stream.Stats

	// Subscription is a set of filters with channels of its own: Messages,
	// Deliveries, All, Granted, Unsubscribe, Err.
	Subscription = stream.Subscription

	// Event is a Delivery with its decoded Value, or the Err of decoding it.
	Event[T any] = stream.Event[T]

	// Store keeps a session beyond its client: Attach, Commit, Detach.
	Store = flow.Store

	// Retry sends again what is not acknowledged on a live connection: Initial,
	// Max, Bandwidth, Factor.
	Retry = flow.Retry
)

// Typed errors.
type (
	ConnectError    = stream.ConnectError
	RefusedError    = stream.RefusedError
	DowngradedError = stream.DowngradedError
	HTTPError       = stream.HTTPError
	OptionError     = stream.OptionError
	InvalidError    = frames.InvalidError
	ProtocolError   = frames.ProtocolError
	TooLargeError   = frames.TooLargeError
	OwnerError      = flow.OwnerError
)

// What became of a message, or of the client.
var (
	ErrClosed      = stream.ErrClosed      // the client has ended; wraps net.ErrClosed
	ErrNotSent     = stream.ErrNotSent     // nothing of it left this process and nothing will
	ErrUnconfirmed = stream.ErrUnconfirmed // it may have arrived; a kept session goes on trying
)

// Decoder makes a value of a message.
type Decoder[T any] func(Message) (T, error)

// Encoder makes a message of a value.
type Encoder[T any] func(T) (Message, error)

// Client is one MQTT session across any number of connections. Its methods can
// be called from any goroutine.
type Client struct{ s *stream.Session }

// Client is both halves.
var (
	_ Publisher  = (*Client)(nil)
	_ Subscriber = (*Client)(nil)
)

// Open starts a client and does not wait for the broker. The error is about the
// arguments or the Store.
//
// The URL has one of these forms, with the default port in brackets:
//
//	mqtt://host:port (1883)       TCP; tcp:// is a synonym
//	mqtts://host:port (8883)      TLS, ALPN mqtt; ssl:// and tls:// are synonyms
//	ws://host:port/path (80)      WebSocket, subprotocol mqtt; the path is /mqtt if there is none
//	wss://host:port/path (443)    WebSocket over TLS
//	unix:///path                  a unix socket
//
// User and password may stand in all of them but the last. They, and the query of
// a WebSocket, are kept out of States, logs and errors. Options.Fallbacks are more
// endpoints. A proxy is a matter of Options.DialContext.
func Open(url string, o *Options) (*Client, error) {
	s, err := stream.Open(url, o)
	if err != nil {
		return nil, err
	}
	return &Client{s}, nil
}

// Dial is Open, and waits for the first connection. If the first attempt fails,
// for a refusal by the broker too, or ctx ends before it has succeeded, the
// client is closed and the error says why. ctx bounds Dial only. Open, and a
// client that was connected once, go on trying whatever the reason; States tells
// it.
func Dial(ctx context.Context, url string, o *Options) (*Client, error) {
	s, err := stream.Dial(ctx, url, o)
	if err != nil {
		return nil, err
	}
	return &Client{s}, nil
}

// Publisher is the half of a Client for code that only publishes.
type Publisher interface {
	Publish(context.Context, Message) error
	Publishes() chan<- Publishing
	PublishFrom(context.Context, <-chan Message) <-chan Receipt
	Flush(context.Context) error
	Sync(context.Context) error
	Lifecycle
}

// Subscriber is the half of a Client for code that only receives.
type Subscriber interface {
	Subscribe(context.Context, ...Filter) (*Subscription, error)
	Messages() <-chan Message
	Deliveries() <-chan Delivery
	All(context.Context) iter.Seq2[Delivery, error]
	Lifecycle
}

// Lifecycle is what both halves have.
type Lifecycle interface {
	Online() <-chan struct{}
	States(context.Context) <-chan State
	Stats() Stats
	Done() <-chan struct{}
	Err() error
	Shutdown(context.Context) error
	Close() error
}

// Publish publishes m and waits until its QoS exchange is complete. What is
// queued waits for the next connection. What is in flight when the connection
// ends is sent again on the next one with Options.KeepSession; without, it ends
// then (ErrUnconfirmed), as the clean session does. When ctx ends first, m is
// withdrawn if it was still queued (ErrNotSent); otherwise it may arrive
// (ErrUnconfirmed). A Store is told of the withdrawal: a process that is killed
// before it is stored (Sync) sends m all the same when it starts again.
func (c *Client) Publish(ctx context.Context, m Message) error { return c.s.Publish(ctx, m) }

// Publishes returns the channel that takes publishings. It is unbuffered: a send
// that returns has been accepted and gets exactly one Receipt. It blocks while
// Options.Queue publications wait. It is never closed, by neither side: select
// it with Done.
func (c *Client) Publishes() chan<- Publishing { return c.s.Publishes() }

// PublishFrom is a stage of a pipeline: it publishes what in delivers and
// returns the Receipts, in the order of the messages. The returned channel is
// closed when in is closed and everything from it has ended, or when ctx or the
// client ends; it must be read until then. When ctx or the client ends, the stage
// reads in no more (select your sends to in with the same ctx and Done), and what
// is still queued is withdrawn. A nil in is a closed one.
func (c *Client) PublishFrom(ctx context.Context, in <-chan Message) <-chan Receipt {
	return c.s.PublishFrom(ctx, in)
}

// Subscribe asks the broker for the filters and waits until it has granted all
// of them. If it refuses one, none stays, and the error is a *RefusedError that
// names it; if ctx ends first, what was asked for is taken back. A Subscription
// is restored at every connection, unless the broker still has it (State.Resumed),
// until it is unsubscribed. Messages, Deliveries and All of one Subscription
// compete for its messages: use one of them.
//
// A message goes to every Subscription with a filter that it matches, and is
// acknowledged when all of them have settled it. $share/group/filter receives
// what filter matches.
func (c *Client) Subscribe(ctx context.Context, f ...Filter) (*Subscription, error) {
	return c.s.Subscribe(ctx, f...)
}

// Messages returns the channel of messages that no Subscription claims. It is
// unbuffered, and the hand-off settles a message. It is closed when the client
// ends, and the same at every call.
func (c *Client) Messages() <-chan Message { return c.s.Messages() }

// Deliveries returns the channel of messages that no Subscription claims, each
// to be settled with Ack. It is buffered (256), closed when the client ends, and
// the same at every call.
func (c *Client) Deliveries() <-chan Delivery { return c.s.Deliveries() }

// All returns an iterator over the messages that no Subscription claims. A
// message is settled when the loop asks for the next one. Leaving the loop does
// not settle the last one, so that returning an error is safe: call Ack before
// break if it was dealt with. The iterator has no goroutine. It ends when the
// client is closed, or with the error of ctx or of the client.
func (c *Client) All(ctx context.Context) iter.Seq2[Delivery, error] { return c.s.All(ctx) }

// Flush waits until no publication is queued or in flight.
func (c *Client) Flush(ctx context.Context) error { return c.s.Flush(ctx) }

// Sync waits until Options.Store has the QoS 1 and 2 publishings that were sent
// on Publishes and have not ended, and the QoS 2 deliveries that were settled,
// before the call. A durable Store then keeps them whatever becomes of the
// process; a send on Publishes that has returned promises no more than that the
// publishing is in memory. Calls from many goroutines share one commit.
//
// An error of the Store says that not all of it is stored. A publishing that the
// Store has refused has ended, so a later Sync without error says nothing of it:
// its Receipt does. A hand-off of Messages counts as settled an instant after the
// receive, so a Sync right behind it may miss it: use Deliveries or All where
// that matters. Without a Store and KeepSession Sync is an error.
func (c *Client) Sync(ctx context.Context) error { return c.s.Sync(ctx) }

// Online returns a channel that is closed while the client is connected. It is a
// level: get it anew for each wait.
func (c *Client) Online() <-chan struct{} { return c.s.Online() }

// States returns a channel with the newest State: first the present one, then
// each change; a slow reader misses all but the last. It is closed when ctx or
// the client ends.
func (c *Client) States(ctx context.Context) <-chan State { return c.s.States(ctx) }

// Stats returns counters and gauges; those of the end once the client has ended.
func (c *Client) Stats() Stats { return c.s.Stats() }

// Done returns a channel that is closed when the client has ended: its channels
// are closed, its goroutines are gone.
func (c *Client) Done() <-chan struct{} { return c.s.Done() }

// Err returns nil while the client runs and after Close; otherwise why it ended.
func (c *Client) Err() error { return c.s.Err() }

// Shutdown ends the client in order: it stops handing out messages (the receive
// channels close), waits until those handed out are settled, stops accepting
// publishings, waits until those accepted have ended, sends the last acks and
// DISCONNECT, and closes. When ctx ends first it closes at once, and the error
// says how many publications and deliveries were left; with KeepSession and a
// Store the next client finds them there, or at the broker.
func (c *Client) Shutdown(ctx context.Context) error { return c.s.Shutdown(ctx) }

// Close ends the client at once: DISCONNECT is sent and the broker is given until
// a second has passed to read it and to close (it does so at once), every
// publication that has not ended gets its Receipt, and all goroutines are gone
// when it returns. It can be called any number of times. Receipts are offered
// until their channels have taken none for a second; the error says how many
// were left.
func (c *Client) Close() error { return c.s.Close() }

// Subscribe is Client.Subscribe with a channel of decoded values. A payload that
// dec cannot decode comes as an Event with Err set, still to be acked. ctx bounds
// the call, not the channel, which is closed when the client ends: to unsubscribe,
// use Client.Subscribe and decode by hand. dec runs on a goroutine of the client.
func Subscribe[T any](ctx context.Context, c *Client, dec Decoder[T], f ...Filter) (<-chan Event[T], error) {
	return stream.Subscribe(ctx, c.s, dec, f...)
}

// PublishFrom is Client.PublishFrom for values of any type. A value that enc
// cannot encode comes back as the Tag of a Receipt whose Err wraps ErrNotSent.
func PublishFrom[T any](ctx context.Context, c *Client, enc Encoder[T], in <-chan T) <-chan Receipt {
	return stream.PublishFrom(ctx, c.s, enc, in)
}

// JSON is a Decoder for payloads in JSON.
func JSON[T any](m Message) (T, error) {
	var v T
	err := json.Unmarshal(m.Payload, &v)
	return v, err
}

// JSONTo returns an Encoder that publishes values as JSON to topic.
func JSONTo[T any](topic string, q QoS) Encoder[T] {
	return func(v T) (Message, error) {
		payload, err := json.Marshal(v)
		return Message{Topic: topic, Payload: payload, QoS: q}, err
	}
}

// Match reports whether a topic filter matches a topic name (section 4.7):
// wildcards at the beginning do not match topics that begin with $, and
// $share/group/filter matches what filter does.
func Match(filter, topic string) bool { return frames.Match(filter, topic) }

// NewMemoryStore returns a Store in memory. Handed to one client after another
// it lets a session outlive the Client, though not the process.
func NewMemoryStore() Store { return flow.NewMemoryStore() }
