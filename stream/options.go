package stream

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"math"
	"net"
	"slices"
	"time"

	"github.com/jpillora/backoff"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream/internal/link"
)

// Attempt describes one dial, for Options.Prepare. Its fields URL, Username, Password, TLS, Header
// and Will may be changed; Endpoint, Version, Number and LastErr are for information.
type Attempt = link.Attempt

// Options configure a session. The zero value and a nil *Options select the defaults. Open and Dial
// copy and check the Options once. An error names the field and its limit. Package mqtt documents
// ranges, defaults and errors of each field.
type Options struct {
	// Version of the protocol; 0 is 5, or 3.1.1 at a broker that does not know 5.
	Version frames.Version

	// ClientID names the session at the broker.
	ClientID string

	// Username and Password have at most 65,535 bytes each (sections 3.1.3.4, 3.1.3.5).
	Username string
	Password []byte

	// Prepare, if set, is called before each dial, once for each endpoint of an attempt.
	Prepare func(context.Context, *Attempt) error

	// KeepSession asks the broker to keep the session when the connection ends (CleanSession 0,
	// section 3.1.2.4).
	KeepSession bool

	// TrustSession relies on the broker's word that it has kept the session (section 3.2.2.2): the
	// filters that were granted on an earlier connection are not asked for again, and their
	// retained messages do not come again.
	TrustSession bool

	// KeepAlive is the longest silence in either direction: nine tenths of it after the last packet
	// sent (section 3.1.2.10) or received, the client sends PINGREQ.
	KeepAlive time.Duration

	// PingTimeout is how long the broker may take to answer PINGREQ, if nothing else arrives from
	// it.
	PingTimeout time.Duration

	// ConnectTimeout bounds name lookup, dial, TLS and CONNACK together.
	ConnectTimeout time.Duration

	// WriteTimeout bounds how long a write may make no progress.
	WriteTimeout time.Duration

	// Will is published by the broker when the connection ends without DISCONNECT (section
	// 3.1.2.5).
	Will *frames.Message

	// TLS configures TLS for mqtts and wss.
	TLS *tls.Config

	// AnySubprotocol accepts a WebSocket server that selects no subprotocol.
	AnySubprotocol bool

	// DialContext makes connections; nil is the method of net.Dialer.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)

	// Fallbacks are the URLs of more endpoints, in the same form as the URL given to Open.
	Fallbacks []string

	// SharedSession states that the endpoints are one cluster, in which all brokers have the same
	// sessions.
	SharedSession bool

	// Window is how many QoS 1 and 2 publications may be in flight, 1 to 65,535.
	Window int

	// Queue is how many accepted publications may wait for the window or for a connection.
	Queue int

	// QueueBytes bounds their bytes, counted as for ReceiveBytes. 0 is no limit; the minimum is
	// 129.
	QueueBytes int

	// Full is the fate of a new publication while Queue or QueueBytes is reached.
	Full flow.Full

	// ReceiveBytes bounds the QoS 0 messages that were received and not yet handed over, in bytes.
	ReceiveBytes int

	// MaxUnread bounds the QoS 1 and 2 messages that were received and not yet handed over, in
	// bytes counted as for ReceiveBytes.
	MaxUnread int

	// SlowConsumer is how long a QoS 1 or 2 delivery may hold back the acks of later ones before a
	// record at Warn names its topic and its Subscription.
	SlowConsumer time.Duration

	// MaxPacket is the size of the largest packet accepted from the broker, in bytes.
	MaxPacket int

	// Reconnect sets the intervals between connection attempts.
	Reconnect *backoff.Backoff

	// NoReconnect ends the session when its first connection ends or its first attempt fails.
	NoReconnect bool

	// Retry retransmits packets without an acknowledgment while the connection is up. nil leaves
	// retransmission to TCP.
	Retry *flow.Retry

	// Store keeps the session beyond the life of the client.
	Store flow.Store

	// ClearSession, with a Store and without KeepSession, ends the session that the Store holds,
	// and the broker's session with it.
	ClearSession bool

	// GiveUp is how many closes in a row end a PUBLISH at which the broker closes every connection:
	// 2 or more, or 0 for never.
	GiveUp int

	// Ack receives the Receipts of publishings that have no Ack channel of their own, and of
	// publications recovered from Store.
	Ack chan<- Receipt

	// DiscardUnclaimed acknowledges and drops messages that no Subscription claims.
	DiscardUnclaimed bool

	// V5 has the options that only MQTT 5 has.
	V5 OptionsV5

	// Observer, if set, has functions that are called for the events of the session.
	Observer *Observer

	// Logger gets connection changes at Info and packets at Debug, never a payload or a secret. nil
	// logs nothing.
	Logger *slog.Logger
}

const (
	defaultKeepAlive      = time.Minute
	maxDefaultPingTimeout = 20 * time.Second
	defaultConnectTimeout = 10 * time.Second
	defaultWriteTimeout   = 10 * time.Second
	defaultQueue          = 1024
	maxQueue              = 1 << 30
	minQueueBytes         = flow.Overhead + 1 // an empty message to a topic of one byte
	defaultReceiveBytes   = 16 << 20
	defaultSlowConsumer   = 30 * time.Second
	defaultMaxUnread      = 64 << 20
	defaultMaxPacket      = 1 << 20
)

// Sessions share these defaults, which nobody changes.
var (
	noLogger         = slog.New(slog.DiscardHandler)
	dialContext      = new(net.Dialer).DialContext
	defaultReconnect = &backoff.Backoff{Min: 100 * time.Millisecond, Max: time.Minute, Jitter: true}
)

// withDefaults returns a checked copy of o. In the copy, defaults replace zero values, and 0
// switches a time limit off.
func (o *Options) withDefaults(endpoints []*link.Endpoint) (Options, error) {
	var c Options
	if o != nil {
		c = *o
	}
	setZero(&c.KeepAlive, defaultKeepAlive)
	setZero(&c.ConnectTimeout, defaultConnectTimeout)
	setZero(&c.WriteTimeout, defaultWriteTimeout)
	setZero(&c.Window, 1)
	setZero(&c.Queue, defaultQueue)
	if err := c.checkReceiving(); err != nil {
		return c, err
	}
	setZero(&c.MaxPacket, defaultMaxPacket)
	setZero(&c.ReceiveBytes, max(defaultReceiveBytes, c.MaxPacket))
	setZero(&c.SlowConsumer, defaultSlowConsumer)
	setZero(&c.MaxUnread, max(defaultMaxUnread, c.MaxPacket))
	c.ConnectTimeout = max(c.ConnectTimeout, 0)
	c.WriteTimeout = max(c.WriteTimeout, 0)
	c.SlowConsumer = max(c.SlowConsumer, 0)
	if c.Will != nil {
		will := c.Will.Clone()
		c.Will = &will
	}
	c.Password = bytes.Clone(c.Password)
	c.TLS = c.TLS.Clone()
	if c.Logger == nil {
		c.Logger = noLogger
	}
	if c.DialContext == nil {
		c.DialContext = dialContext
	}
	if c.Reconnect == nil {
		c.Reconnect = defaultReconnect
	} else {
		c.Reconnect = c.Reconnect.Copy()
	}
	if c.Retry != nil {
		r, err := c.Retry.WithDefaults()
		if err != nil {
			var outside *flow.RetryError
			if errors.As(err, &outside) {
				err = link.BadOption(outside.Field, "%s", outside.Reason)
			}
			return c, err
		}
		c.Retry = &r
	}
	if err := c.V5.withDefaults(&c); err != nil {
		return c, err
	}
	return c, c.check(endpoints)
}

// checkReceiving checks the limits of inbound messages, before they have their defaults.
func (o *Options) checkReceiving() error {
	switch {
	case o.MaxPacket != 0 && (o.MaxPacket < 2 || o.MaxPacket > frames.MaxPacket):
		return link.BadOption("MaxPacket", "%d is outside 2 to %d", o.MaxPacket, frames.MaxPacket)
	case o.ReceiveBytes < 0:
		return link.BadOption("ReceiveBytes", "%d is below 1", o.ReceiveBytes)
	case o.SlowConsumer > 24*time.Hour:
		return link.BadOption("SlowConsumer", "%v is above 24h", o.SlowConsumer)
	case o.MaxUnread < 0:
		return link.BadOption("MaxUnread", "%d is below 1", o.MaxUnread)
	case o.ReceiveBytes != 0 && o.ReceiveBytes < o.MaxPacket:
		return link.BadOption("ReceiveBytes", "%d is below MaxPacket, %d", o.ReceiveBytes, o.MaxPacket)
	case o.MaxUnread != 0 && o.MaxUnread < o.MaxPacket:
		return link.BadOption("MaxUnread", "%d is below MaxPacket, %d", o.MaxUnread, o.MaxPacket)
	}
	return nil
}

func setZero[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}

func (o *Options) check(endpoints []*link.Endpoint) error {
	secured := slices.ContainsFunc(endpoints, (*link.Endpoint).Secure)
	webSocket := slices.ContainsFunc(endpoints, (*link.Endpoint).WebSocket)
	scheme := endpoints[0].Scheme()
	switch {
	case o.TLS != nil && !secured:
		return link.BadOption("TLS", "is set, but the URL's scheme is %s, which does not use it; use mqtts or wss", scheme)
	case o.AnySubprotocol && !webSocket:
		return link.BadOption("AnySubprotocol", "is set, but the URL's scheme is %s, which does not use it; use ws or wss", scheme)
	case o.Version != 0 && (o.Version < frames.V31 || o.Version > frames.V5):
		return link.BadOption("Version", "%d is none of V31 (3), V311 (4) and V5 (5)", o.Version)
	case o.KeepAlive > math.MaxUint16*time.Second:
		return link.BadOption("KeepAlive", "%v is outside 0 to 65535 s", o.KeepAlive)
	case o.PingTimeout != 0 && (o.PingTimeout < time.Millisecond || o.PingTimeout > math.MaxUint16*time.Second):
		return link.BadOption("PingTimeout", "%v is outside 1 ms to 65535 s", o.PingTimeout)
	case o.Window < 1 || o.Window > math.MaxUint16:
		return link.BadOption("Window", "%d is outside 1 to 65535", o.Window)
	case o.GiveUp < 0 || o.GiveUp == 1:
		return link.BadOption("GiveUp", "%d is below 2; 0 is never", o.GiveUp)
	case o.Queue < 1 || o.Queue > maxQueue:
		return link.BadOption("Queue", "%d is outside 1 to %d", o.Queue, maxQueue)
	case o.QueueBytes != 0 && o.QueueBytes < minQueueBytes:
		return link.BadOption("QueueBytes", "%d is below %d, the size of the smallest message; 0 is no limit", o.QueueBytes, minQueueBytes)
	case o.Full > flow.EvictOldest:
		return link.BadOption("Full", "%d is none of Block (0), Refuse (1) and EvictOldest (2)", o.Full)
	}
	if err := o.checkSession(); err != nil {
		return err
	}
	if err := o.checkVersion(); err != nil {
		return err
	}
	// CONNECT carries whole seconds, so the keep alive is rounded up.
	o.KeepAlive = max(0, (o.KeepAlive + time.Second - 1).Truncate(time.Second))
	setZero(&o.PingTimeout, min(o.KeepAlive, maxDefaultPingTimeout))
	c := o.linkConfig()
	return c.Validate(endpoints)
}

// checkSession checks the options that decide where the session is kept.
func (o *Options) checkSession() error {
	switch {
	case o.KeepSession && len(o.Fallbacks) > 0 && !o.SharedSession:
		return link.BadOption("KeepSession", "is set with Fallbacks: brokers that do not share their sessions would "+
			"mix up packet identifiers and lose messages; set SharedSession if the endpoints are one cluster")
	case o.Store != nil && !o.KeepSession && !o.ClearSession:
		return link.BadOption("Store", "is set without KeepSession: a clean session would erase the stored one; "+
			"set KeepSession to continue it or ClearSession to end it")
	case o.ClearSession && (o.Store == nil || o.KeepSession):
		return link.BadOption("ClearSession", "needs a Store and excludes KeepSession")
	}
	return nil
}
