package main

import (
	"context"
	"path/filepath"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/flow/boltstore"
	"github.com/go-millrace/mqtt/flow/logstore"
)

// ours lists the contenders that are millrace, one for each way to use it.
var ours = []contender{
	{name: "PublishBatches", connect: millrace(func(m *mill) session { return &publishBatches{mill: m} })},
	{name: "PublishFrom", connect: millrace(func(m *mill) session { return &publishFrom{mill: m} })},
	{name: "Publishes", connect: millrace(func(m *mill) session { return &publishes{mill: m} })},
	{name: "Publish", connect: millrace(func(m *mill) session { return &publishCall{mill: m} })},
	{name: "Messages", connect: millrace(func(m *mill) session { return &messages{mill: m} })},
	{name: "Deliveries", connect: millrace(func(m *mill) session { return &deliveries{mill: m} })},
	{name: "All", connect: millrace(func(m *mill) session { return &all{mill: m} })},
	{name: "AllBatches", connect: millrace(func(m *mill) session { return &allBatches{mill: m} })},
}

// oursV5 lists the fastest ways again, over MQTT 5, to be compared with paho.golang.
var oursV5 = []contender{
	{name: "PublishBatches 5", connect: millraceV5(func(m *mill) session { return &publishBatches{mill: m} })},
	{name: "PublishFrom 5", connect: millraceV5(func(m *mill) session { return &publishFrom{mill: m} })},
	{name: "Publish 5", connect: millraceV5(func(m *mill) session { return &publishCall{mill: m} })},
	{name: "All 5", connect: millraceV5(func(m *mill) session { return &all{mill: m} })},
	{name: "AllBatches 5", connect: millraceV5(func(m *mill) session { return &allBatches{mill: m} })},
}

// oursLogged lists the ways that publish in the durable scenarios, with a session in logstore.
var oursLogged = durably("logstore", func(path string) (diskStore, error) { return logstore.Open(path, nil) })

// oursBolted lists the same ways with a session in boltstore, to be compared with logstore.
var oursBolted = durably("boltstore", func(path string) (diskStore, error) { return boltstore.Open(path, nil) })

// A diskStore is a Store that the program opens and closes.
type diskStore interface {
	mqtt.Store
	Close() error
}

// durably returns the contenders that publish with a store on disk.
func durably(store string, open func(path string) (diskStore, error)) []contender {
	ways := []contender{
		{name: "PublishBatches", connect: millraceAt(mqtt.V311, open, func(m *mill) session { return &publishBatches{mill: m} })},
		{name: "PublishFrom", connect: millraceAt(mqtt.V311, open, func(m *mill) session { return &publishFrom{mill: m} })},
		{name: "Publishes", connect: millraceAt(mqtt.V311, open, func(m *mill) session { return &publishes{mill: m} })},
	}
	for i := range ways {
		ways[i].name += ", " + store
	}
	return ways
}

// A mill is a connected client. The session of each way to use millrace embeds it.
type mill struct {
	s      *scenario
	client *mqtt.Client
	store  diskStore // nil unless the scenario is durable
}

// background is the context of all calls. A run is not cancelled through its context; its process
// is killed.
var background = context.Background()

func millrace(use func(*mill) session) func(*scenario, string) (session, error) {
	return millraceAt(mqtt.V311, nil, use)
}

func millraceV5(use func(*mill) session) func(*scenario, string) (session, error) {
	return millraceAt(mqtt.V5, nil, use)
}

// millraceAt returns the function that connects a client. A client with a store takes part in the
// durable scenarios only, and a client without one in the others.
func millraceAt(v mqtt.Version, open func(path string) (diskStore, error), use func(*mill) session) func(*scenario, string) (session, error) {
	return func(s *scenario, id string) (session, error) {
		if (s.Kind == durable) != (open != nil) {
			return nil, errUnsupported
		}
		m := &mill{s: s}
		o := &mqtt.Options{
			Version:   v,
			ClientID:  id,
			KeepAlive: s.keepAlive(),
			Window:    s.Window,
			Queue:     buffered,
			// A client that only publishes has no consumer, so it must drop messages from the
			// broker.
			DiscardUnclaimed: s.Kind != receive && s.Kind != echo,
			V5:               mqtt.OptionsV5{ReceiveMaximum: min(max(s.Window, 1), 65535)},
		}
		if open != nil {
			var err error
			if m.store, err = open(filepath.Join(s.Dir, id)); err != nil {
				return nil, err
			}
			o.KeepSession, o.Store = true, m.store
		}
		var err error
		if m.client, err = mqtt.Dial(background, s.URL, o); err != nil {
			return nil, err
		}
		return use(m), nil
	}
}

// writes returns the number of batches that the client has sent. It sends small batches with
// sendmsg, which used does not count, and the others with write, which therefore count twice.
func (m *mill) writes() uint64 { return m.client.Stats().Writes }

func (m *mill) Close() error {
	err := m.client.Close()
	if m.store != nil && err == nil {
		err = m.store.Close()
	}
	return err
}

func (m *mill) message() mqtt.Message {
	return mqtt.Message{Topic: topic, QoS: mqtt.QoS(m.s.QoS), Payload: m.s.body()}
}

func (m *mill) subscribe() (*mqtt.Subscription, error) {
	var filters []mqtt.Filter
	for _, f := range m.s.filters() {
		filters = append(filters, mqtt.Filter{Topic: f, QoS: mqtt.QoS(m.s.QoS)})
	}
	return m.client.Subscribe(background, filters...)
}
