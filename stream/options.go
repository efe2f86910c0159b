package stream

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
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
// copy and check the Options once. An error names the field and its limit.
type Options struct {
	// Version of the protocol; 0 is V311.
	Version frames.Version

	// ClientID names the session at the broker. On 3.1 it has 1 to 23 characters. On 3.1.1 it may
	// be empty unless KeepSession is set; the broker then assigns an identifier (section 3.1.3.1).
	ClientID string

	// Username and Password have at most 65,535 bytes each (sections 3.1.3.4, 3.1.3.5). They take
	// precedence over the user name and password in the URL. A password requires a user name; an
	// empty one without a user name counts as none. Dial fails if the broker rejects the
	// credentials. When the broker rejects the credentials of a later attempt, the next attempt
	// follows after the longest interval of Reconnect. HTTP status 401 or 403 at the opening
	// handshake of a WebSocket counts as such a rejection too.
	Username string
	Password []byte

	// Prepare, if set, is called before each dial, once for each endpoint of an attempt. The
	// Attempt is filled from the Options and the URL, and Prepare may change it: a token that
	// expires, a certificate that rotates, HTTP headers, host, path and query of a presigned URL
	// (but not its scheme), a will that differs for each connection. It is then checked like the
	// Options; an error names the field. The context ends after ConnectTimeout. If Prepare returns
	// an error, or leaves a field that cannot be used, the dial fails, and the next one follows as
	// after any other failure.
	Prepare func(context.Context, *Attempt) error

	// KeepSession asks the broker to keep the session when the connection ends (CleanSession 0,
	// section 3.1.2.4). The client keeps its own part of the session too.
	KeepSession bool

	// TrustSession relies on the broker's word that it has kept the session (section 3.2.2.2): the
	// filters that were granted on an earlier connection are not asked for again, and their
	// retained messages do not come again. Without it the client asks for its filters at every
	// connection, since a broker that was restored from an older state may lack some of them.
	// TrustSession has no effect on 3.1, whose CONNACK does not say whether the broker has the
	// session.
	TrustSession bool

	// KeepAlive is the longest silence in either direction: nine tenths of it after the last packet
	// sent (section 3.1.2.10) or received, the client sends PINGREQ. It is at most 65,535 s, in whole
	// seconds; a fraction is rounded up. 0 is a minute, negative switches keep alive off.
	KeepAlive time.Duration

	// PingTimeout is how long the broker may take to answer PINGREQ, if nothing else arrives from
	// it. Then the connection is closed. So a dead broker is noticed within KeepAlive plus
	// PingTimeout, whatever is being sent. The time begins when PINGREQ has left the send queue of
	// the operating system (Linux and macOS; elsewhere when it was written). A PINGREQ that waits in
	// a queue that does not move for PingTimeout ends the connection too. While reading is paused
	// (MaxUnread), the time begins when reading goes on. The range is 1 ms to 65,535 s; 0 is
	// KeepAlive, at most 20 s. Without KeepAlive it has no effect.
	PingTimeout time.Duration

	// ConnectTimeout bounds name lookup, dial, TLS and CONNACK together. 0 is 10 s, negative is
	// unlimited.
	ConnectTimeout time.Duration

	// WriteTimeout bounds how long a write may make no progress. 0 is 10 s, negative is unlimited.
	// A write that outlasts KeepAlive without progress for PingTimeout ends too.
	WriteTimeout time.Duration

	// Will is published by the broker when the connection ends without DISCONNECT (section
	// 3.1.2.5). Its payload has at most 65,535 bytes. MQTT 3.1 allows only ASCII in that payload,
	// but the client sends any bytes.
	Will *frames.Message

	// TLS configures TLS for mqtts and wss. It is an error to set TLS without an endpoint of these
	// schemes. nil verifies the broker against the root certificates of the system. An empty
	// ServerName becomes the host in the URL. Without NextProtos the client negotiates no protocol
	// (ALPN); with wss it always negotiates http/1.1. A minimum version below TLS 1.2 is raised to
	// TLS 1.2.
	TLS *tls.Config

	// AnySubprotocol accepts a WebSocket server that selects no subprotocol. The standard demands
	// the subprotocol mqtt (section 6). Without this option the client rejects a server that does
	// not select it.
	AnySubprotocol bool

	// DialContext makes connections; nil is the method of net.Dialer. The argument network is tcp
	// or unix. The client adds TLS and WebSocket to the returned connection. To use a proxy, set
	// DialContext.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)

	// Fallbacks are the URLs of more endpoints, in the same form as the URL given to Open. A
	// fallback without user name and password uses those of that URL. An attempt tries the
	// endpoints in turn, each within ConnectTimeout. It begins with the endpoint of the last
	// connection, or with the URL given to Open if there was no connection. The order of the other
	// endpoints differs from client to client, so that clients that lose a broker together spread
	// over the remaining brokers. State.Endpoint tells which endpoint is in use.
	Fallbacks []string

	// SharedSession states that the endpoints are one cluster, in which all brokers have the same
	// sessions. KeepSession with Fallbacks requires it. Otherwise packet identifiers of one broker
	// would be applied to the session of another, and messages would be lost without an error.
	SharedSession bool

	// Window is how many QoS 1 and 2 publications may be in flight, 1 to 65,535. 0 is 1, which
	// keeps messages in order even when a connection is lost.
	Window int

	// Queue is how many accepted publications may wait for the window or for a connection. With a
	// longer queue PublishFrom makes larger batches. 0 is 1,024; the maximum is 1,073,741,824.
	Queue int

	// ReceiveBytes bounds the QoS 0 messages that were received and not yet handed over, in bytes.
	// A message counts with its payload, its topic and 128 bytes more. When there is no room for a
	// message, the oldest ones are dropped; one that is larger than ReceiveBytes waits alone. 0 is
	// 16 MiB, or MaxPacket if that is more. ReceiveBytes and MaxPacket may not both be set so that
	// MaxPacket is larger.
	//
	// When half of ReceiveBytes, or 1 MiB if that is less, is in use, reading rests for up to 2 ms
	// after each read while a consumer takes messages. Messages on their way to a consumer are not
	// counted: for each channel, up to 64 messages or 64 KiB, and the buffer of Deliveries.
	ReceiveBytes int

	// MaxUnread bounds the QoS 1 and 2 messages that were received and not yet handed over, in
	// bytes counted as for ReceiveBytes. They are never dropped: beyond MaxUnread reading pauses,
	// and TCP holds the broker back. After a pause of a second, calls that wait for the broker end
	// with ErrBehind until reading starts again. 0 is 64 MiB, or MaxPacket if that is more.
	// MaxUnread and MaxPacket may not both be set so that MaxPacket is larger.
	MaxUnread int

	// SlowConsumer is how long a QoS 1 or 2 delivery may hold back the acks of later ones before a
	// record at Warn names its topic and its Subscription. A second record follows at ten times
	// that age, and so on; about one Subscription there is at most one record in nine times
	// SlowConsumer. 0 is 30 s, the maximum is 24 hours; negative switches the records off.
	// Stats.OldestUnacked is the age.
	SlowConsumer time.Duration

	// MaxPacket is the size of the largest packet accepted from the broker, in bytes. 0 is 1 MiB;
	// the maximum is 268,435,460. A larger PUBLISH is acknowledged and dropped without a copy in
	// memory, counted in Stats.TooLarge and logged once for each topic. Any other larger packet
	// ends the connection.
	MaxPacket int

	// Reconnect sets the intervals between connection attempts. Open copies it. nil is 100 ms,
	// doubling up to a minute, with Jitter. With Jitter an interval is randomly shortened, to half
	// at most, so that many clients do not reconnect at the same moment. Without Jitter the
	// intervals are exact.
	Reconnect *backoff.Backoff

	// NoReconnect ends the session when its first connection ends or its first attempt fails.
	// Publications then end at once, and Err returns the reason. The receive channels hand over the
	// messages that have arrived, then they close, and Done is closed after them. Close ends the
	// wait for consumers that take no more messages.
	NoReconnect bool

	// Retry retransmits packets without an acknowledgment while the connection is up. nil leaves
	// retransmission to TCP.
	Retry *flow.Retry

	// Store keeps the session beyond the life of the client. With nil the client keeps the session
	// in memory. A Store requires KeepSession or ClearSession.
	Store flow.Store

	// ClearSession, with a Store and without KeepSession, ends the session that the Store holds, and
	// the broker's session with it. Each stored publication gets a Receipt with an error. The Store
	// holds nothing afterwards, and the client does not use it.
	ClearSession bool

	// Ack receives the Receipts of publishings that have no Ack channel of their own, and of
	// publications recovered from Store.
	Ack chan<- Receipt

	// DiscardUnclaimed acknowledges and drops messages that no Subscription claims. Otherwise these
	// messages wait until they are taken with Messages, Deliveries or All of the client.
	DiscardUnclaimed bool

	// Logger gets connection changes at Info and packets at Debug, never a payload or a secret. nil
	// logs nothing. The log handler runs on a goroutine of its own, which exists while there are
	// records, and may call the client. When 4,096 records wait for it, further ones are dropped,
	// and a record says how many.
	Logger *slog.Logger
}

const (
	defaultKeepAlive      = time.Minute
	maxDefaultPingTimeout = 20 * time.Second
	defaultConnectTimeout = 10 * time.Second
	defaultWriteTimeout   = 10 * time.Second
	defaultQueue          = 1024
	maxQueue              = 1 << 30
	defaultReceiveBytes   = 16 << 20
	defaultSlowConsumer   = 30 * time.Second
	defaultMaxUnread      = 64 << 20
	defaultMaxPacket      = 1 << 20
)

// withDefaults returns a checked copy of o in which defaults replace zero values, and 0 stands for
// a time limit that is off.
func (o *Options) withDefaults(endpoints []*link.Endpoint) (Options, error) {
	var c Options
	if o != nil {
		c = *o
	}
	setZero(&c.Version, frames.V311)
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
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.DialContext == nil {
		c.DialContext = new(net.Dialer).DialContext
	}
	if c.Reconnect == nil {
		c.Reconnect = &backoff.Backoff{Min: 100 * time.Millisecond, Max: time.Minute, Jitter: true}
	} else {
		c.Reconnect = c.Reconnect.Copy()
	}
	if c.Retry != nil {
		r, err := c.Retry.WithDefaults()
		if err != nil {
			return c, fmt.Errorf("mqtt: %w", err)
		}
		c.Retry = &r
	}
	return c, c.check(endpoints)
}

// checkReceiving checks the limits of what is received, before they have their defaults.
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
	case o.Version != frames.V31 && o.Version != frames.V311:
		return link.BadOption("Version", "%d is neither V31 (3) nor V311 (4)", o.Version)
	case o.KeepAlive > math.MaxUint16*time.Second:
		return link.BadOption("KeepAlive", "%v is outside 0 to 65535 s", o.KeepAlive)
	case o.PingTimeout != 0 && (o.PingTimeout < time.Millisecond || o.PingTimeout > math.MaxUint16*time.Second):
		return link.BadOption("PingTimeout", "%v is outside 1 ms to 65535 s", o.PingTimeout)
	case o.Window < 1 || o.Window > math.MaxUint16:
		return link.BadOption("Window", "%d is outside 1 to 65535", o.Window)
	case o.Queue < 1 || o.Queue > maxQueue:
		return link.BadOption("Queue", "%d is outside 1 to %d", o.Queue, maxQueue)
	}
	if err := o.checkSession(); err != nil {
		return err
	}
	// CONNECT carries whole seconds, so the keep alive is rounded up.
	o.KeepAlive = max(0, (o.KeepAlive + time.Second - 1).Truncate(time.Second))
	setZero(&o.PingTimeout, min(o.KeepAlive, maxDefaultPingTimeout))
	c := o.link()
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
