package main

import "fmt"

// polling is the limit for receivers. One goroutine reads, and answers all packets of a read with
// one write. It parses nothing: the broker sends copies of one message and PUBREL, whose lengths
// are known. Between reads it polls the connection for a while before it waits. At QoS 2 client and
// broker wait for each other twice for each window, so the time to wake a process that waits is
// most of the time of a run, and a client that does more work, and so waits less, is faster than a
// limit that waits. The price of polling is CPU time and system calls.
type polling struct {
	unsupported
	*raw
}

func (l *polling) Receive(n int, subscribed func()) error {
	if err := l.subscribe(l.s.filters()...); err != nil {
		return err
	}
	conn, err := newPoller(l.conn)
	if err != nil {
		return err
	}
	subscribed()
	a := newAnswers(&l.message, l.s.QoS)
	in := make([]byte, brokerRead)
	for have := 0; n > a.messages; {
		got, err := conn.read(in[have:])
		if err != nil {
			return err
		}
		rest, err := a.take(in[:have+got])
		if err != nil {
			return err
		}
		have = copy(in, rest)
		l.out, a.out = a.out, l.out
		if err := l.flush(); err != nil {
			return err
		}
	}
	return nil
}

// answers makes the answers of a subscriber. Every message has the same length, and its identifier
// is always at the same place.
type answers struct {
	length   int  // of a message with its header
	id       int  // offset of the identifier in a message; 0 at QoS 0
	ack      byte // type of the answer to a message
	messages int  // number of messages so far
	out      []byte
}

func newAnswers(p *publication, qos byte) *answers {
	a := &answers{length: len(p.bytes), id: p.id, ack: typePuback}
	if qos == 2 {
		a.ack = typePubrec
	}
	return a
}

// take appends the answers to the complete packets of in to out, and returns the rest of in.
func (a *answers) take(in []byte) (rest []byte, err error) {
	for len(in) > 0 {
		switch in[0] & 0xf0 {
		case typePublish:
			if len(in) < a.length {
				return in, nil
			}
			if a.id > 0 {
				a.out = append(a.out, a.ack, 2, in[a.id], in[a.id+1])
			}
			a.messages++
			in = in[a.length:]
		case typePubrel & 0xf0:
			if len(in) < 4 {
				return in, nil
			}
			a.out = append(a.out, typePubcomp, 2, in[2], in[3])
			in = in[4:]
		default:
			return in, fmt.Errorf("packet of type %d is not for a subscriber", in[0]>>4)
		}
	}
	return nil, nil
}
