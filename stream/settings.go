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
		},
		Prepare: o.Prepare, TLS: o.TLS, AnySubprotocol: o.AnySubprotocol,
		DialContext: o.DialContext, ConnectTimeout: o.ConnectTimeout, WriteTimeout: o.WriteTimeout,
		CountEvery: min(o.KeepAlive, o.PingTimeout) / flow.QueueSteps, MaxPacket: o.MaxPacket, Logger: o.Logger,
	}
}

// settings are the Options that are read while the session runs. The others are not kept.
type settings struct {
	version          frames.Version
	kept             bool
	trustSession     bool
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
		version: o.Version, kept: o.KeepSession, trustSession: o.TrustSession, noReconnect: o.NoReconnect,
		discardUnclaimed: o.DiscardUnclaimed, window: o.Window, queue: o.Queue, store: o.Store, retry: o.Retry,
		ack: o.Ack,
	}
}
