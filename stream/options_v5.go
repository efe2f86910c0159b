package stream

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream/internal/link"
)

// Exchange is the client's side of one enhanced authentication (MQTT 5, section 4.12).
type Exchange = link.Exchange

// Redirect says that a broker refers the client to another one (MQTT 5, section 4.11).
type Redirect = link.Redirect

// FollowSecure is a policy for OptionsV5.Redirect, see package mqtt.
func FollowSecure(ctx context.Context, r Redirect) (url string, err error) {
	return link.FollowSecure(ctx, r)
}

// OptionsV5 are the options that only MQTT 5 has. Package mqtt documents ranges, defaults and
// errors of each field.
type OptionsV5 struct {
	// SessionExpiry, with KeepSession, is how long the broker keeps the session after the
	// connection has ended (section 3.1.2.11.2).
	SessionExpiry time.Duration

	// ReceiveMaximum is how many QoS 1 and 2 messages the broker may send before their exchange has
	// ended (section 3.1.2.11.3).
	ReceiveMaximum int

	// TopicAliases is how many topic aliases each side may use on a connection (sections 3.1.2.11.5
	// and 3.3.2.3.4). With 0 the client uses 16, and the broker none. A topic of fewer than 16
	// bytes gets no alias.
	TopicAliases int

	// Expiry is the message expiry interval of publications that have none (section 3.3.2.3.3).
	Expiry time.Duration

	// LowerQoS sends a publication above the Maximum QoS of the broker at that QoS (section
	// 3.2.2.3.4). Its Receipt has a *DowngradedError.
	LowerQoS bool

	// Lossy sends messages, filters and the will without the properties and options that the
	// version of the connection does not have. NoLocal is not left out.
	Lossy bool

	// WillDelay is how long the broker waits with the will (section 3.1.3.2.2).
	WillDelay time.Duration

	// User are the user properties of CONNECT (section 3.1.2.11.8).
	User []frames.UserProperty

	// Authenticate makes the exchange of an enhanced authentication, for each connection and for
	// each re-authentication (section 4.12).
	Authenticate func(context.Context) (Exchange, error)

	// Redirect decides where to connect when the broker refers to another one (section 4.11).
	Redirect func(context.Context, Redirect) (url string, err error)

	// ReplyTopic is the beginning of the topic for replies to Request.
	ReplyTopic string
}

const (
	defaultReceiveMaximum = 256 // the capacity of the channel Deliveries
	defaultTopicAliases   = 16  // of this side
)

// withDefaults checks the options and sets the defaults.
func (v *OptionsV5) withDefaults(o *Options) error {
	setZero(&v.ReceiveMaximum, defaultReceiveMaximum)
	v.User = slices.Clone(v.User)
	const field = "V5."
	switch {
	case v.SessionExpiry < 0 || v.SessionExpiry > (forEver-1)*time.Second:
		return link.BadOption(field+"SessionExpiry", "%v is outside 0 to 4294967294 s", v.SessionExpiry)
	case v.SessionExpiry > 0 && !o.KeepSession:
		return link.BadOption(field+"SessionExpiry", "is set without KeepSession, so the session ends with the connection")
	case v.ReceiveMaximum < 1 || v.ReceiveMaximum > math.MaxUint16:
		return link.BadOption(field+"ReceiveMaximum", "%d is outside 1 to 65535", v.ReceiveMaximum)
	case v.TopicAliases > math.MaxUint16:
		return link.BadOption(field+"TopicAliases", "%d is above 65535", v.TopicAliases)
	case v.Expiry < 0 || v.Expiry > forEver*time.Second:
		return link.BadOption(field+"Expiry", "%v is outside 0 to 4294967295 s", v.Expiry)
	case v.WillDelay < 0 || v.WillDelay > forEver*time.Second:
		return link.BadOption(field+"WillDelay", "%v is outside 0 to 4294967295 s", v.WillDelay)
	case v.WillDelay > 0 && o.Will == nil && o.Prepare == nil:
		return link.BadOption(field+"WillDelay", "is set without a Will")
	case v.WillDelay > 0 && !o.KeepSession:
		return link.BadOption(field+"WillDelay", "is set without KeepSession: the broker sends the will when the session ends, at the latest")
	case v.WillDelay > 0 && v.SessionExpiry > 0 && v.WillDelay > v.SessionExpiry:
		return link.BadOption(field+"WillDelay", "%v is above SessionExpiry, %v: the broker sends the will when the session ends, at the latest",
			v.WillDelay, v.SessionExpiry)
	case v.Redirect != nil && o.KeepSession && !o.SharedSession:
		return link.BadOption(field+"Redirect", "is set with KeepSession: brokers that do not share their sessions would "+
			"mix up packet identifiers and lose messages; set SharedSession if they are one cluster")
	}
	if v.ReplyTopic != "" {
		if err := frames.ValidTopicName(v.ReplyTopic, frames.V5); err != nil {
			return link.BadOption(field+"ReplyTopic", "%v", err)
		}
	}
	return nil
}

// inboundAliases returns how many topic aliases the broker may use: none by default. mochi 2.7.9
// keeps its aliases across connections, so the messages of a kept session would come with an alias
// that is not set, or with the topic of another message.
func (v *OptionsV5) inboundAliases() int { return max(v.TopicAliases, 0) }

// outboundAliases returns how many topic aliases this side may use.
func (v *OptionsV5) outboundAliases() int {
	if v.TopicAliases == 0 {
		return defaultTopicAliases
	}
	return max(v.TopicAliases, 0)
}

// checkVersion checks the options that need MQTT 5, or exclude it.
func (o *Options) checkVersion() error {
	v := &o.V5
	only := func(field string) error {
		return link.BadOption("V5."+field, "needs MQTT 5, but Version is %v", o.Version)
	}
	switch {
	case o.Version >= frames.V5:
		if o.Retry != nil { // [MQTT-4.4.0-1] packets are sent again only on a new connection
			return link.BadOption("Retry", "is set, but MQTT 5 forbids to send a packet again on a live connection (section 4.4)")
		}
	case o.Version == 0:
	case v.SessionExpiry > 0:
		return only("SessionExpiry")
	case v.WillDelay > 0:
		return only("WillDelay")
	case len(v.User) > 0:
		return only("User")
	case v.Authenticate != nil:
		return only("Authenticate")
	case v.Redirect != nil:
		return only("Redirect")
	case v.LowerQoS:
		return only("LowerQoS")
	case v.ReplyTopic != "":
		return only("ReplyTopic")
	}
	return nil
}

// connectProperties returns the properties of CONNECT, nil if no connection speaks MQTT 5.
func (o *Options) connectProperties() *frames.ConnectProperties {
	if o.Version != 0 && o.Version < frames.V5 {
		return nil
	}
	v := &o.V5
	p := &frames.ConnectProperties{
		ReceiveMaximum:             uint16(v.ReceiveMaximum),
		MaximumPacket:              uint32(o.MaxPacket),
		TopicAliasMaximum:          uint16(v.inboundAliases()),
		RequestResponseInformation: v.ReplyTopic == "",
		User:                       v.User,
		WillDelay:                  wholeSeconds(v.WillDelay),
	}
	p.SessionExpiry = o.sessionExpiry()
	return p
}

// sessionExpiry returns the session expiry interval of CONNECT in seconds.
func (o *Options) sessionExpiry() uint32 {
	switch {
	case !o.KeepSession:
		return 0
	case o.V5.SessionExpiry == 0:
		return forEver
	}
	return wholeSeconds(o.V5.SessionExpiry)
}

// wholeSeconds rounds up to seconds.
func wholeSeconds(d time.Duration) uint32 { return uint32((d + time.Second - 1) / time.Second) }
