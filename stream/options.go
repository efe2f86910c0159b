package stream

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/jpillora/backoff"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream/internal/link"
)

// Options configure a session. The zero value, and nil, are ready to use. Open and Dial copy and
// check them once; an error names the field and the limit that it breaks.
type Options struct {
	// Version of the protocol; 0 is V311.
	Version frames.Version

	// ClientID names the session at the broker. On 3.1 it has 1 to 23 characters. On 3.1.1 it may
	// be empty unless KeepSession is set; the broker then makes one up (section 3.1.3.1).
	ClientID string

	// Username and Password, at most 65,535 bytes each (sections 3.1.3.4, 3.1.3.5). They take
	// precedence over those in the URL. A password needs a user name.
	Username string
	Password []byte

	// Credentials, if set, is asked for user name and password at every connection, so that tokens
	// can expire. Its context ends with ConnectTimeout. An error fails the attempt. An empty user
	// name with a nil password sends neither. A broker that rejects them ends Dial; later it is
	// asked again at the longest interval of Reconnect.
	Credentials func(context.Context) (user string, password []byte, err error)

	// KeepSession asks the broker to keep the session when the connection ends (CleanSession 0,
	// section 3.1.2.4), and keeps the client's part of it.
	KeepSession bool

	// KeepAlive is the longest silence towards the broker (section 3.1.2.10), up to 65,535 s, in
	// whole seconds; a fraction is rounded up. 0 is a minute, negative switches it off.
	KeepAlive time.Duration

	// ConnectTimeout bounds name lookup, dial, TLS and CONNACK together. 0 is 10 s, negative is
	// unlimited.
	ConnectTimeout time.Duration

	// WriteTimeout bounds how long a write may make no progress. 0 is 10 s, negative is unlimited:
	// KeepAlive does not end a write under way.
	WriteTimeout time.Duration

	// Will is published by the broker when the connection ends without DISCONNECT (section
	// 3.1.2.5). Its payload has at most 65,535 bytes. The text of 3.1 allows only ASCII there, but
	// any bytes are sent.
	Will *frames.Message

	// TLS configures mqtts and wss; without an endpoint of these schemes it is an error. nil
	// verifies the broker against the roots of the system. An empty ServerName is the host in the
	// URL, nil NextProtos are mqtt (with wss always http/1.1), and the least version is at least
	// TLS 1.2.
	TLS *tls.Config

	// TLSConfig, if set, is asked for the TLS configuration at every connection, so that
	// certificates can rotate. Its context ends with ConnectTimeout. An error fails the attempt.
	TLSConfig func(context.Context) (*tls.Config, error)

	// Header, if set, is asked at every connection for the HTTP headers of the WebSocket handshake
	// (ws, wss), such as a token. Its context ends with ConnectTimeout. An error fails the attempt.
	Header func(context.Context) (http.Header, error)

	// AnySubprotocol accepts a WebSocket server that selects no subprotocol. The standard demands
	// mqtt (section 6), and a server that does not select it is rejected otherwise.
	AnySubprotocol bool

	// DialContext makes connections; nil is that of net.Dialer. network is tcp or unix. TLS and
	// WebSocket are added to the connection that it returns. A proxy belongs here.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)

	// Fallbacks are more endpoints, in the forms of the URL. One without user and password has
	// those of the URL. An attempt tries the endpoints in turn, each within ConnectTimeout,
	// beginning with the one that was connected last. At first that is the URL. The order of the
	// others differs from client to client, so that a fleet that loses a broker spreads over the
	// remaining ones. State.Endpoint tells which is in use.
	Fallbacks []string

	// Window is how many QoS 1 and 2 publications may be in flight, 1 to 65,535. 0 is 1, which
	// keeps the order even when a connection is lost.
	Window int

	// Queue is how many accepted publications may wait for the window or for a connection. With a
	// longer queue PublishFrom makes larger batches. 0 is 1,024.
	Queue int

	// ReceiveBytes bounds the messages that were received and not yet handed over: payload, topic
	// and 128 bytes for each. From half of it on, or 1 MiB, reading rests for up to 2 ms after each
	// read while a consumer takes messages. Beyond it the oldest QoS 0 messages are dropped. When
	// it is full of QoS 1 and 2, reading pauses; while an ack of the broker is awaited, only at
	// four times as much, since a consumer that publishes may wait for that ack behind its own
	// messages. Messages on their way to a consumer are not counted: up to 64 or 64 KiB for each
	// channel, and the buffer of Deliveries. 0 is 16 MiB.
	ReceiveBytes int

	// MaxPacket is the largest packet accepted from the broker, in bytes. 0 is 1 MiB, the most is
	// 268,435,460.
	MaxPacket int

	// Reconnect gives the intervals between attempts; it is copied. nil is 100 ms doubling to a
	// minute, with Jitter. With Jitter each interval is spread over its upper half, so that a fleet
	// does not return in step; without, it is exact.
	Reconnect *backoff.Backoff

	// NoReconnect ends the session with its first connection.
	NoReconnect bool

	// Retry retransmits packets without an acknowledgment while the connection is up. nil leaves
	// that to TCP.
	Retry *flow.Retry

	// Store keeps the session beyond the client. nil: the session lives as long as the client.
	// Without KeepSession a session that it holds is ended.
	Store flow.Store

	// Ack takes the Receipts of publishings without an Ack of their own, also of those recovered
	// from Store.
	Ack chan<- Receipt

	// DiscardUnclaimed acknowledges and drops messages that no Subscription claims. Otherwise they
	// wait for Messages, Deliveries and All of the client.
	DiscardUnclaimed bool

	// Logger gets connection changes at Info and packets at Debug, never a payload or a secret. nil
	// discards. Its handler runs on the session's own goroutines and should not block.
	Logger *slog.Logger
}

const (
	defaultKeepAlive      = time.Minute
	defaultConnectTimeout = 10 * time.Second
	defaultWriteTimeout   = 10 * time.Second
	defaultQueue          = 1024
	defaultReceiveBytes   = 16 << 20
	defaultMaxPacket      = 1 << 20
)

// withDefaults returns a checked copy of o with every zero replaced by its default, and with 0 for
// limits that are off.
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
	setZero(&c.ReceiveBytes, defaultReceiveBytes)
	setZero(&c.MaxPacket, defaultMaxPacket)
	c.ConnectTimeout = max(c.ConnectTimeout, 0)
	c.WriteTimeout = max(c.WriteTimeout, 0)
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
	case o.TLS != nil && o.TLSConfig != nil:
		return link.BadOption("TLSConfig", "is set beside TLS; use one of them")
	case (o.TLS != nil || o.TLSConfig != nil) && !secured:
		return link.BadOption("TLS", "is set, but the URL's scheme is %s, which does not use it; use mqtts or wss", scheme)
	case (o.Header != nil || o.AnySubprotocol) && !webSocket:
		return link.BadOption("Header", "or AnySubprotocol is set, but the URL's scheme is %s, which does not use it; use ws or wss", scheme)
	case o.Version != frames.V31 && o.Version != frames.V311:
		return link.BadOption("Version", "%d is neither V31 (3) nor V311 (4)", o.Version)
	case o.KeepAlive > math.MaxUint16*time.Second:
		return link.BadOption("KeepAlive", "%v is outside 0 to 65535 s", o.KeepAlive)
	case o.Window < 1 || o.Window > math.MaxUint16:
		return link.BadOption("Window", "%d is outside 1 to 65535", o.Window)
	case o.Queue < 1:
		return link.BadOption("Queue", "%d is below 1", o.Queue)
	case o.ReceiveBytes < 1:
		return link.BadOption("ReceiveBytes", "%d is below 1", o.ReceiveBytes)
	case o.MaxPacket < 2 || o.MaxPacket > frames.MaxPacket:
		return link.BadOption("MaxPacket", "%d is outside 2 to %d", o.MaxPacket, frames.MaxPacket)
	}
	// CONNECT announces whole seconds, and that is the keep alive: rounded up.
	o.KeepAlive = max(0, (o.KeepAlive + time.Second - 1).Truncate(time.Second))
	c := o.link()
	return c.Validate(endpoints)
}

// link returns the part of the Options that makes connections.
func (o *Options) link() link.Config {
	return link.Config{
		Connect: frames.Connect{
			Version:      o.Version,
			ClientID:     o.ClientID,
			CleanSession: !o.KeepSession,
			KeepAlive:    uint16(o.KeepAlive / time.Second),
			Will:         o.Will,
		},
		Username: o.Username, Password: o.Password, Credentials: o.Credentials,
		TLS: o.TLS, TLSConfig: o.TLSConfig, Header: o.Header, AnySubprotocol: o.AnySubprotocol,
		DialContext: o.DialContext, ConnectTimeout: o.ConnectTimeout, WriteTimeout: o.WriteTimeout,
		MaxPacket: o.MaxPacket, Logger: o.Logger,
	}
}

// settings are the Options that are read while the session runs. The others are not kept.
type settings struct {
	version          frames.Version
	kept             bool
	noReconnect      bool
	discardUnclaimed bool
	window           int
	queue            int
	store            flow.Store
	retry            *flow.Retry
	ack              chan<- Receipt
}

func (o *Options) settings() settings {
	return settings{
		version: o.Version, kept: o.KeepSession, noReconnect: o.NoReconnect, discardUnclaimed: o.DiscardUnclaimed,
		window: o.Window, queue: o.Queue, store: o.Store, retry: o.Retry, ack: o.Ack,
	}
}
