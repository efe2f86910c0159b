// Package mqtt is an MQTT 3.1 and 3.1.1 client with typed channels: you receive messages by ranging
// over a channel or selecting on it, you publish by sending to a channel, and each publication gets
// exactly one Receipt.
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
// The library closes each of its channels that you receive from, once and after the last value. It
// never closes or probes a channel of yours; do not close one while the library may send to it.
//
//	channel              sender      closed by                  bound
//	Client.Publishes     you         nobody; select with Done   none; blocks while Queue is full
//	PublishFrom, input   you         you; that ends the stage   yours
//	PublishFrom, output  the stage   the stage, at its end      256 to 1,024 Receipts
//	Publishing.Ack       the client  nobody                     yours
//	Messages             a feeder    the feeder                 none; a receive acks the message
//	Deliveries           a feeder    the feeder                 256, then ReceiveBytes
//	Subscribe[T]         a feeder    the feeder                 256, then ReceiveBytes
//	States               the client  the client, when ctx ends  1; an unread State is replaced
//	Online, Done         nobody      the client                 levels: closed or open
//
// A channel whose bound is none is unbuffered. A feeder is the goroutine of one receive channel.
// Queue and ReceiveBytes are fields of Options; ReceiveBytes bounds all inbound messages together.
// The output of PublishFrom buffers Window+Queue Receipts, at least 256 and at most 1,024. The
// stage holds at most Window+Queue messages; then it stops reading its input. Receipts that do not
// fit into an Ack channel wait, without bound, and delay no other channel.
//
// Receive channels close when the client or their Subscription ends. After a range loop, Err
// returns the reason. A client has at most three goroutines, one more for each receive channel or
// stage in use, and one for each Ack channel that lags. Close returns when all of them have ended.
//
// # Errors
//
// Each failure is reported in one place: the return value, Receipt.Err, State.Err or Err. The error
// of a publication tells the fate of its message:
//
//	error             the message
//	nil               QoS 0 was written to the connection; QoS 1 has its PUBACK, QoS 2 its PUBCOMP
//	ErrNotSent        it was not sent and will not be; you can publish it again
//	ErrUnconfirmed    it may have arrived; with KeepSession and a Store the next client resends it
//	*DowngradedError  it arrived at QoS 1, although QoS 2 was requested
//
// Errors of this package wrap their reason: use errors.Is and errors.As. ErrClosed, the end of the
// client, wraps net.ErrClosed. A refused connection is a *ConnectError that wraps its code, so that
// errors.Is(err, mqtt.NotAuthorized) finds the reason. A WebSocket server that answers with a
// status other than 101 causes an *HTTPError. Refused topic filters cause a *RefusedError. Errors
// of crypto/tls, crypto/x509 and package net are found by errors.As. A call with a wrong argument
// returns an error that names the field and the limit, before anything is sent.
//
// If the broker breaks the standard, the client closes the connection at once, without DISCONNECT.
// The error is in State.Err and in the calls that it ends, and the session continues with the next
// connection.
//
// # Order and delivery
//
// Publications are sent in the order in which they were accepted. With KeepSession, the
// publications in flight when a connection ends are sent again on the next one, in the same order,
// with their identifiers and DUP; without it, they end. With Window 1, no publication can overtake
// another on the way either.
//
// Each Subscription receives its messages in order of arrival. Acks are sent in order of arrival
// too, whatever the order of the calls to Ack. A consumer that does not ack a message therefore
// holds back the acks of all later ones, even those of other Subscriptions. A broker stops sending
// QoS 1 and 2 when it reaches its limit of unacknowledged messages (mosquitto: 20). Give a slow
// consumer its own Client. A message at QoS 1 or 2 is never dropped. When more than
// Options.ReceiveBytes waits, the oldest QoS 0 messages are dropped, and Stats.Dropped counts them.
//
// No consumer can block the client: while one sleeps, the client pings, publishes, and delivers
// Receipts and the messages of all others, and Close works.
//
// # Sessions
//
// With Options.KeepSession the session outlives the connection; with a Store (NewMemoryStore) it
// outlives the client, and with the store of flow/boltstore the process. The Store holds the
// accepted publications that have not ended, in order, and the identifiers of received QoS 2
// messages. A packet that depends on a change is sent only when the change is in the Store; one
// commit serves a batch. Open resumes the stored publications: Stats counts them, Flush waits for
// them, Options.Ack gets their Receipts, and they are sent before all new ones.
//
// A publication is in memory when the send on Publishes returns, and an Ack is stored some time
// after the call. Sync returns when both are in the Store; from then on a kill loses nothing. (A
// receive from Messages acks the message a moment later, so Sync may not wait for it.) If the Store
// cannot store a publication, the publication ends with ErrNotSent and the reason. The client then
// reconnects, because nothing may be sent that is not stored.
//
// # Further reading
//
// Most types are aliases. Package stream documents their fields and methods (go doc
// github.com/go-millrace/mqtt/stream Options, and Subscription, Delivery, Stats and so on), and
// package frames documents the types of the standard.
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

	// Message has Topic, Payload, QoS and Retain. Clone copies the payload. Do not write to a
	// payload that you publish before its Receipt. A received payload may share memory with other
	// messages.
	Message = frames.Message

	// Filter is a topic filter, which may have wildcards, and the QoS requested for it.
	Filter = frames.Filter

	// ReasonCode is the reason why a broker refused a request; compare it with errors.Is.
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

// The types of the channels and their options.
type (
	// Options configure Open and Dial. The zero value and nil are ready to use.
	Options = stream.Options

	// Delivery is a Message that you acknowledge with Ack: once or more, from any goroutine, in any
	// order, at any time. Duplicate is the DUP flag.
	Delivery = stream.Delivery

	// Publishing is a Message for Publishes, with a Tag, which the Receipt repeats, and the Ack
	// channel for the Receipt.
	Publishing = stream.Publishing

	// Receipt is the result of a publication: Message, Tag, ID (the packet identifier) and Err.
	Receipt = stream.Receipt

	// State is the state of the connection: Online, Resumed, Attempt, Err, Since, Endpoint.
	State = stream.State

	// Stats are counters and gauges of a client.
	Stats = stream.Stats

	// Subscription is a set of filters with its own channels: Messages, Deliveries, All, Granted,
	// Unsubscribe, Err.
	Subscription = stream.Subscription

	// Event is a Delivery with its decoded Value, or with the Err of the Decoder.
	Event[T any] = stream.Event[T]

	// Store keeps a session after its client has ended: Attach, Commit, Detach.
	Store = flow.Store

	// Retry sends unacknowledged packets again on a live connection: Initial, Max, Bandwidth,
	// Factor.
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

// The errors that tell the fate of a message or of the client.
var (
	ErrClosed      = stream.ErrClosed      // the client has ended; wraps net.ErrClosed
	ErrNotSent     = stream.ErrNotSent     // it was not sent and will not be
	ErrUnconfirmed = stream.ErrUnconfirmed // it may have arrived; a kept session resends it
)

// Decoder decodes a message to a value.
type Decoder[T any] func(Message) (T, error)

// Encoder encodes a value as a message.
type Encoder[T any] func(T) (Message, error)

// Client is one MQTT session across any number of connections. Its methods can be called from any
// goroutine.
type Client struct{ s *stream.Session }

// Client is a Publisher and a Subscriber.
var (
	_ Publisher  = (*Client)(nil)
	_ Subscriber = (*Client)(nil)
)

// Open starts a client and does not wait for the broker. The error is about the arguments or the
// Store.
//
// The URL has one of these forms, with the default port in brackets:
//
//	mqtt://host:port (1883)       TCP; tcp:// is a synonym
//	mqtts://host:port (8883)      TLS, ALPN mqtt; ssl:// and tls:// are synonyms
//	ws://host:port/path (80)      WebSocket, subprotocol mqtt; the path is /mqtt if there is none
//	wss://host:port/path (443)    WebSocket over TLS
//	unix:///path                  a unix socket
//
// All forms but the last may contain a user and a password. These, and the query of a WebSocket,
// are kept out of States, logs and errors. Options.Fallbacks are more endpoints. For a proxy, set
// Options.DialContext.
func Open(url string, o *Options) (*Client, error) {
	s, err := stream.Open(url, o)
	if err != nil {
		return nil, err
	}
	return &Client{s}, nil
}

// Dial calls Open and waits for the first connection. If the first attempt fails, even by a refusal
// of the broker, or ctx ends before it succeeds, Dial closes the client and returns the reason. ctx
// bounds only Dial. A client from Open, or one that was connected once, keeps trying whatever the
// reason, which States reports.
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

// Lifecycle has the methods that both halves share.
type Lifecycle interface {
	Online() <-chan struct{}
	States(context.Context) <-chan State
	Stats() Stats
	Done() <-chan struct{}
	Err() error
	Shutdown(context.Context) error
	Close() error
}

// Publish publishes m and waits until its QoS exchange is complete. A queued message waits for the
// next connection. If the connection ends while m is in flight, m is sent again on the next one
// with Options.KeepSession; without it, m ends with the clean session (ErrUnconfirmed). If ctx ends
// first, Publish withdraws m while it is queued (ErrNotSent); otherwise m may arrive
// (ErrUnconfirmed). The withdrawal is stored in the Store: a process that is killed before that
// (see Sync) sends m when it starts again.
func (c *Client) Publish(ctx context.Context, m Message) error { return c.s.Publish(ctx, m) }

// Publishes returns the channel for publications. It is unbuffered: when a send returns, the
// publication is accepted and gets exactly one Receipt. A send blocks while Options.Queue
// publications wait. Neither side closes the channel: select it with Done.
func (c *Client) Publishes() chan<- Publishing { return c.s.Publishes() }

// PublishFrom is a stage of a pipeline: it publishes the messages from in and returns their
// Receipts, in the same order. The returned channel is closed when in is closed and all its
// messages have ended, or when ctx or the client ends; it must be read until then. When ctx or the
// client ends, the stage stops reading in and withdraws the queued messages: select your sends to
// in with the same ctx and Done. A nil in counts as closed.
func (c *Client) PublishFrom(ctx context.Context, in <-chan Message) <-chan Receipt {
	return c.s.PublishFrom(ctx, in)
}

// Subscribe requests the filters from the broker and waits until it has granted all of them. If it
// refuses one, none stays subscribed, and the error is a *RefusedError that names it. If ctx ends
// first, Subscribe withdraws the request. Until it is unsubscribed, a Subscription is restored at
// every connection, unless the broker still has it (State.Resumed). Messages, Deliveries and All of
// one Subscription compete for its messages: use one of them.
//
// A message goes to every Subscription with a matching filter, and is acknowledged to the broker
// when all of them have acked it. $share/group/filter receives the messages that match filter.
func (c *Client) Subscribe(ctx context.Context, f ...Filter) (*Subscription, error) {
	return c.s.Subscribe(ctx, f...)
}

// Messages returns the channel of messages that match no Subscription. It is unbuffered, and
// receiving a message acks it. It is closed when the client ends, and is the same at every call.
func (c *Client) Messages() <-chan Message { return c.s.Messages() }

// Deliveries returns the channel of messages that match no Subscription; call Ack for each. It is
// buffered (256), closed when the client ends, and the same at every call.
func (c *Client) Deliveries() <-chan Delivery { return c.s.Deliveries() }

// All returns an iterator over the messages that match no Subscription. A message is acked when the
// loop asks for the next one. Leaving the loop does not ack the last one, so that returning an
// error is safe: call Ack before break if you have processed it. The iterator has no goroutine. It
// ends when the client is closed, or with the error of ctx or of the client.
func (c *Client) All(ctx context.Context) iter.Seq2[Delivery, error] { return c.s.All(ctx) }

// Flush waits until no publication is queued or in flight.
func (c *Client) Flush(ctx context.Context) error { return c.s.Flush(ctx) }

// Sync waits until Options.Store has all changes made before the call: the QoS 1 and 2 publications
// that were sent on Publishes and have not ended, and the QoS 2 deliveries that were acked. A
// durable Store then keeps them even if the process is killed. Without Sync, a send on Publishes
// that has returned promises only that the publication is in memory. Calls from many goroutines
// share one commit.
//
// An error of the Store means that not all changes are stored. A publication that the Store has
// refused has ended, and its Receipt has the error; a later Sync does not report it. A message
// received from Messages is acked an instant after the receive, so a Sync right after it may miss
// it: use Deliveries or All where that matters. Without a Store and KeepSession, Sync returns an
// error.
func (c *Client) Sync(ctx context.Context) error { return c.s.Sync(ctx) }

// Online returns a channel that is closed while the client is connected. It is a level: call Online
// again for each wait.
func (c *Client) Online() <-chan struct{} { return c.s.Online() }

// States returns a channel with the newest State: first the current one, then each change. A slow
// reader misses all but the last. It is closed when ctx or the client ends.
func (c *Client) States(ctx context.Context) <-chan State { return c.s.States(ctx) }

// Stats returns counters and gauges. After the end of the client it returns the last ones.
func (c *Client) Stats() Stats { return c.s.Stats() }

// Done returns a channel that is closed when the client has ended: its channels are closed, and its
// goroutines are gone.
func (c *Client) Done() <-chan struct{} { return c.s.Done() }

// Err returns the reason why the client ended, or nil while it runs and after Close.
func (c *Client) Err() error { return c.s.Err() }

// Shutdown ends the client in order. It stops delivering messages (the receive channels close),
// waits until the delivered ones are acked, stops accepting publications, waits until the accepted
// ones have ended, sends the last acks and DISCONNECT, and closes. If ctx ends first, it closes at
// once, and the error says how many publications and deliveries were left. With KeepSession and a
// Store the next client finds them in the Store or at the broker.
func (c *Client) Shutdown(ctx context.Context) error { return c.s.Shutdown(ctx) }

// Close ends the client at once. It sends DISCONNECT and waits at most a second until the broker
// has read it and closed the connection, which brokers do at once. Every publication that has not
// ended gets its Receipt. Close offers Receipts until their channels have taken none for a second;
// the error says how many were left. All goroutines are gone when Close returns. It can be called
// any number of times.
func (c *Client) Close() error { return c.s.Close() }

// Subscribe is Client.Subscribe with a channel of decoded values. If dec cannot decode a payload,
// the Event has Err set and must still be acked. ctx bounds the call, not the channel, which is
// closed when the client ends: to unsubscribe, use Client.Subscribe and decode by hand. dec runs on
// a goroutine of the client.
func Subscribe[T any](ctx context.Context, c *Client, dec Decoder[T], f ...Filter) (<-chan Event[T], error) {
	return stream.Subscribe(ctx, c.s, dec, f...)
}

// PublishFrom is Client.PublishFrom for values of any type. A value that enc cannot encode is the
// Tag of a Receipt whose Err wraps ErrNotSent.
func PublishFrom[T any](ctx context.Context, c *Client, enc Encoder[T], in <-chan T) <-chan Receipt {
	return stream.PublishFrom(ctx, c.s, enc, in)
}

// JSON is a Decoder for JSON payloads.
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

// Match reports whether a topic filter matches a topic name (section 4.7). Wildcards at the
// beginning do not match topics that begin with $. $share/group/filter matches the same topics as
// filter.
func Match(filter, topic string) bool { return frames.Match(filter, topic) }

// NewMemoryStore returns a Store in memory. If one client after another uses it, a session outlives
// its Client, but not the process.
func NewMemoryStore() Store { return flow.NewMemoryStore() }
