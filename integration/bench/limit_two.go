package main

import "time"

// twoGoroutines has a reader that tells the writer what to do.
type twoGoroutines struct {
	*raw
	spares chan []byte
}

// An order is what one read brought for the writer.
type order struct {
	done int    // exchanges complete, or messages that have come
	out  []byte // packets that are owed
}

// spare is for the packets of orders that have been carried out.
func (l *twoGoroutines) spare(out []byte) {
	select {
	case l.spares <- out[:0]:
	default:
	}
}

// reads has a goroutine read, with take for each packet, and passes on what each
// read brought, until want are done or the connection ends: then it closes the
// channel. failed holds one error at most, before that.
func (l *twoGoroutines) reads(want int, take func(first byte, body, out []byte) ([]byte, int, error)) (orders <-chan order, failed <-chan error) {
	ch, errs := make(chan order, 64), make(chan error, 1)
	go func() {
		defer close(ch)
		for want > 0 {
			var o order
			select {
			case o.out = <-l.spares:
			default:
			}
			err := l.read(func(first byte, body []byte) (err error) {
				var done int
				o.out, done, err = take(first, body, o.out)
				o.done += done
				return err
			})
			if err != nil {
				errs <- err
				return
			}
			want -= o.done
			ch <- o
		}
	}()
	return ch, errs
}

func (l *twoGoroutines) Publish(n int) error {
	if l.s.QoS == 0 {
		return l.writeOnly(n)
	}
	orders, failed := l.reads(n, answered)
	id, unsent, free := uint16(0), n, l.s.Window
	for n > 0 {
		for unsent > 0 && free > 0 && len(l.out) < limitBatch {
			id = nextID(id)
			l.out = l.message.append(l.out, id)
			unsent--
			free--
		}
		if err := l.flush(); err != nil {
			return err
		}
		if unsent > 0 && free > 0 {
			continue
		}
		o, ok := <-orders
		for ok {
			l.out = append(l.out, o.out...)
			l.spare(o.out)
			n -= o.done
			free += o.done
			select {
			case o, ok = <-orders:
				continue
			default:
			}
			break
		}
		if !ok && n > 0 {
			return <-failed
		}
	}
	return nil
}

func (l *twoGoroutines) Receive(n int, subscribed func()) error {
	if err := l.subscribe(l.s.filters()...); err != nil {
		return err
	}
	subscribed()
	orders, failed := l.reads(n, arrived)
	for o := range orders {
		n -= o.done
		l.out = append(l.out, o.out...)
		l.spare(o.out)
		if err := l.flush(); err != nil {
			return err
		}
	}
	if n > 0 {
		return <-failed
	}
	return nil
}

func (l *twoGoroutines) Echo([]time.Duration) error { return errUnsupported }
