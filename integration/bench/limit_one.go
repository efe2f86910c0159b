package main

import "time"

// oneGoroutine is the limit with one goroutine, which fills the window and reads in turns.
type oneGoroutine struct{ *raw }

func (l *oneGoroutine) Publish(n int) error {
	if l.s.QoS == 0 {
		return l.writeOnly(n)
	}
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
		err := l.read(func(first byte, body []byte) (err error) {
			var done int
			l.out, done, err = answered(first, body, l.out)
			n -= done
			free += done
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *oneGoroutine) Receive(n int, subscribed func()) error {
	if err := l.subscribe(l.s.filters()...); err != nil {
		return err
	}
	subscribed()
	for n > 0 {
		err := l.read(func(first byte, body []byte) (err error) {
			var came int
			l.out, came, err = arrived(first, body, l.out)
			n -= came
			return err
		})
		if err != nil {
			return err
		}
		if err := l.flush(); err != nil {
			return err
		}
	}
	return nil
}

func (l *oneGoroutine) Echo(rtt []time.Duration) error {
	if err := l.subscribe(l.s.filters()...); err != nil {
		return err
	}
	id := uint16(0)
	for i := range rtt {
		sent := time.Now()
		id = nextID(id)
		l.out = l.message.append(l.out, id)
		for back := false; !back; {
			if err := l.flush(); err != nil {
				return err
			}
			err := l.read(func(first byte, body []byte) (err error) {
				if first == typePuback || first == typePubrec || first == typePubcomp {
					l.out, _, err = answered(first, body, l.out)
					return err
				}
				var came int
				l.out, came, err = arrived(first, body, l.out)
				back = back || came > 0
				return err
			})
			if err != nil {
				return err
			}
		}
		rtt[i] = time.Since(sent)
	}
	return nil
}
