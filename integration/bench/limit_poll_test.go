package main

import (
	"bytes"
	"errors"
	"testing"
)

func TestTheAnswersAreTheSameHoweverTheReadsAreCut(t *testing.T) {
	for qos := range byte(3) {
		p := newPublication(qos, make([]byte, 200), false)
		in := p.append(p.append(nil, 0x0102), 0x0304)
		var want []byte
		switch qos {
		case 1:
			want = appendAck(appendAck(want, typePuback, 0x0102), typePuback, 0x0304)
		case 2:
			in = p.append(appendAck(in, typePubrel, 0x0102), 0x0506)
			want = appendAck(appendAck(want, typePubrec, 0x0102), typePubrec, 0x0304)
			want = appendAck(appendAck(want, typePubcomp, 0x0102), typePubrec, 0x0506)
		}
		for _, step := range []int{1, 3, 50, len(in)} {
			a := newAnswers(&p, qos)
			var rest []byte
			for at := 0; at < len(in); at += step {
				var err error
				if rest, err = a.take(append(rest, in[at:min(at+step, len(in))]...)); err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(a.out, want) || len(rest) > 0 || a.messages != len(in)/len(p.bytes) {
				t.Errorf("QoS %d, %d bytes a read: % x, %d messages, %d bytes left", qos, step, a.out, a.messages, len(rest))
			}
		}
	}
	p := newPublication(1, nil, false)
	if _, err := newAnswers(&p, 1).take([]byte{typeSuback, 0}); err == nil {
		t.Error("a SUBACK is no error")
	}
}

func TestTheLimitForReceiversGetsAllMessages(t *testing.T) {
	limit := &limits[2]
	for qos := range byte(3) {
		for _, window := range []int{1, 10} {
			const n = 250
			with(t, limit, scenario{Kind: receive, QoS: qos, Window: window, Messages: n}, func(s session, b *broker) error {
				if !errors.Is(s.Publish(n), errUnsupported) {
					t.Error("Publish is supported")
				}
				err := s.Receive(n, b.flood)
				if got := b.sent.Load(); qos > 0 && got < n {
					t.Errorf("QoS %d, window %d: %d sent for %d received", qos, window, got, n)
				}
				return err
			})
		}
	}
}
