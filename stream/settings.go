package stream

import (
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream/internal/link"
)

// linkConfig returns the part of the Options that makes connections.
func (o *Options) linkConfig() link.Config {
	return link.Config{
		Connect: frames.Connect{
			Version:      o.Version,
			ClientID:     o.ClientID,
			CleanSession: !o.KeepSession,
			KeepAlive:    uint16(o.KeepAlive / time.Second),
			Will:         o.Will,
			UserName:     o.Username,
			Password:     o.Password,
			Properties:   o.connectProperties(),
		},
		Lossy: o.V5.Lossy, Authenticate: o.V5.Authenticate, Redirect: o.V5.Redirect,
		Prepare: o.Prepare, TLS: o.TLS, AnySubprotocol: o.AnySubprotocol,
		DialContext: o.DialContext, ConnectTimeout: o.ConnectTimeout, WriteTimeout: o.WriteTimeout,
		CountEvery: min(o.KeepAlive, o.PingTimeout) / flow.QueueSteps, MaxPacket: o.MaxPacket, Logger: o.Logger,
	}
}

// settings are the Options that are read while the session runs. The others are not kept.
type settings struct {
	version          frames.Version // that publications and filters are checked for; the terms of a connection may have less
	kept             bool
	trustSession     bool
	noReconnect      bool
	discardUnclaimed bool
	window           int
	queue            int
	store            flow.Store
	retry            *flow.Retry
	ack              chan<- Receipt
	expiry           time.Duration // of publications that have none; 0 is never
}

func (o *Options) settings() settings {
	return settings{
		version: o.validatesFor(), expiry: o.V5.Expiry, kept: o.KeepSession, trustSession: o.TrustSession, noReconnect: o.NoReconnect,
		discardUnclaimed: o.DiscardUnclaimed, window: o.Window, queue: o.Queue, store: o.Store, retry: o.Retry,
		ack: o.Ack,
	}
}

// validatesFor returns the version for which publications and filters are checked when they are
// accepted. The version of a connection may have less.
func (o *Options) validatesFor() frames.Version {
	if o.Version == 0 || o.V5.Lossy {
		return frames.V5
	}
	return o.Version
}
