package live

import (
	"bytes"
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

const (
	interval = time.Second
	patience = 10 * time.Second // for a viewer that does not read
)

// A feed passes each snapshot to all viewers. A viewer that is behind gets only the newest one.
//
// Invariant: a goroutine makes snapshots while, and only while, there are viewers. The last viewer
// waits for the end of that goroutine.
type feed struct {
	mu      sync.Mutex
	viewers map[chan []byte]bool // each with cap 1; the feed is the only sender
	last    []byte               // the newest snapshot
	run     *running             // nil without viewers
	closing chan struct{}        // closed by close; made with the first viewer
	closed  bool
}

// running is the goroutine of a feed.
type running struct{ stop, done chan struct{} }

// join adds a viewer. It returns nil if there are limit viewers already.
func (f *feed) join(limit int, produce func(*running)) (snapshots chan []byte, closing <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.viewers) >= limit {
		return nil, nil
	}
	if f.closing == nil {
		f.viewers, f.closing = make(map[chan []byte]bool), make(chan struct{})
		if f.closed {
			close(f.closing)
		}
	}
	v := make(chan []byte, 1)
	f.viewers[v] = true
	if f.last != nil {
		v <- f.last
	}
	if f.run == nil {
		f.run = &running{make(chan struct{}), make(chan struct{})}
		go func(r *running) {
			defer close(r.done)
			produce(r)
		}(f.run)
	}
	return v, f.closing
}

// leave reverses join.
func (f *feed) leave(v chan []byte) {
	f.mu.Lock()
	delete(f.viewers, v)
	var over *running
	if len(f.viewers) == 0 {
		over, f.run, f.last = f.run, nil, nil
	}
	f.mu.Unlock()
	if over != nil {
		close(over.stop)
		<-over.done
	}
}

// send passes a snapshot to all viewers, unless r is no longer the goroutine of the feed.
func (f *feed) send(r *running, snapshot []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.run != r {
		return
	}
	f.last = snapshot
	for v := range f.viewers {
		select {
		case <-v:
		default:
		}
		v <- snapshot
	}
}

func (f *feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	f.closed = true
	if f.closing != nil {
		close(f.closing)
	}
}

// produce makes a snapshot at once and then every second, until the last viewer has left.
func (p *Page) produce(r *running) {
	p.watched.Add(1)
	defer p.watched.Add(-1)
	s := newSampling(p)
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		p.feed.send(r, event(s.take(time.Now())))
		select {
		case <-ticker.C:
		case <-r.stop:
			return
		}
	}
}

// event encodes a snapshot as a server-sent event.
func event(s *snapshot) []byte {
	var b bytes.Buffer
	b.WriteString("data: ")
	if err := json.NewEncoder(&b).Encode(s); err != nil { // ends with a newline
		b.WriteString("{}\n")
	}
	b.WriteByte('\n')
	return b.Bytes()
}

// stream sends server-sent events until the viewer or the page ends.
func (p *Page) stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	if r.Method == http.MethodHead {
		return
	}
	snapshots, closing := p.feed.join(p.viewers(), p.produce)
	if snapshots == nil {
		w.Header().Set("Retry-After", "5")
		http.Error(w, "too many viewers", http.StatusServiceUnavailable)
		return
	}
	defer p.feed.leave(snapshots)
	control := http.NewResponseController(w)
	defer func() { _ = control.SetWriteDeadline(time.Time{}) }()
	for {
		select {
		case b := <-snapshots:
			_ = control.SetWriteDeadline(time.Now().Add(patience)) // where it is supported
			if _, err := w.Write(b); err != nil {
				return
			}
			if err := control.Flush(); err != nil {
				return
			}
		case <-r.Context().Done():
			return
		case <-closing:
			return
		}
	}
}
