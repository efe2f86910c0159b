package main

import "time"

// twoGoroutines is the limit with a reader and a writer. The reader sends orders to the writer.
type twoGoroutines struct {
	*raw
	spares chan []byte
}

// An order tells the writer the result of one read.
type order struct {
	done int    // completed exchanges, or messages received
	out  []byte // acks to send
}

// spare returns the buffer of a finished order, which can be used again.
func (l *twoGoroutines) spare(out []byte) {
	select {
	case l.spares <- out[:0]:
	default:
	}
}

// reads starts a goroutine that reads, calls the function take for each packet and sends an order
// for each read. The goroutine closes orders when want messages are done or the connection ends.
// Before that it may send one error to failed.
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
