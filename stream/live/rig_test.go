package live

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bubble runs a script in a synctest bubble, with a broker of its own.
func bubble(t *testing.T, script func(t *testing.T, b *streamtest.Broker)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { script(t, streamtest.New(t)) })
}

// connected opens a client and accepts its first connection.
func connected(t *testing.T, b *streamtest.Broker, o mqtt.Options) (*mqtt.Client, *streamtest.Conn) {
	t.Helper()
	c := open(t, b, o)
	conn := b.Handshake(false)
	<-c.Online()
	return c, conn
}

func open(t *testing.T, b *streamtest.Broker, o mqtt.Options) *mqtt.Client {
	t.Helper()
	if o.DialContext == nil {
		o.DialContext = b.Dial
	}
	if o.Version == 0 {
		o.Version = mqtt.V311
	}
	if o.KeepAlive == 0 {
		o.KeepAlive = -1
	}
	c, err := mqtt.Open("mqtt://user:secret@broker", &o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// declared subscribes c to a filter at QoS 1, which the broker grants.
func declared(t *testing.T, c *mqtt.Client, conn *streamtest.Conn, filter string) *mqtt.Subscription {
	t.Helper()
	sub, err := c.Declare(mqtt.Filter{Topic: filter, QoS: mqtt.AtLeastOnce})
	if err != nil {
		t.Fatal(err)
	}
	conn.Grant(streamtest.Next[frames.Subscribe](conn))
	<-sub.Ready()
	return sub
}

// A viewer is a response that receives the stream of a page.
type viewer struct {
	*httptest.ResponseRecorder
	ctx    context.Context
	events chan string   // each call of Write
	gate   chan struct{} // if not nil, each Write waits for it
	quit   context.CancelFunc
	done   chan struct{}

	deadline time.Time
}

func (v *viewer) SetWriteDeadline(t time.Time) error {
	v.deadline = t
	return nil
}

func (v *viewer) Write(b []byte) (int, error) {
	select {
	case v.events <- string(b):
	case <-v.ctx.Done():
		return 0, v.ctx.Err()
	}
	if v.gate != nil {
		select {
		case <-v.gate:
		case <-time.After(time.Until(v.deadline)):
			return 0, os.ErrDeadlineExceeded
		case <-v.ctx.Done():
			return 0, v.ctx.Err()
		}
	}
	return len(b), nil
}

// watch opens the stream of p, which ends with leave, or with the test.
func watch(t *testing.T, p *Page) *viewer { return watchGated(t, p, nil) }

func watchGated(t *testing.T, p *Page, gate chan struct{}) *viewer {
	ctx, quit := context.WithCancel(context.Background())
	v := &viewer{ResponseRecorder: httptest.NewRecorder(), ctx: ctx, quit: quit,
		events: make(chan string, 1000), gate: gate, done: make(chan struct{})}
	go func() {
		defer close(v.done)
		p.ServeHTTP(v, httptest.NewRequestWithContext(ctx, http.MethodGet, "/debug/mqtt?get=events", nil))
	}()
	t.Cleanup(v.leave)
	return v
}

func (v *viewer) leave() {
	v.quit()
	<-v.done
}

// next returns the next snapshot.
func (v *viewer) next(t *testing.T) *snapshot {
	t.Helper()
	return parse(t, <-v.events)
}

func parse(t *testing.T, event string) *snapshot {
	t.Helper()
	text, ok := strings.CutPrefix(event, "data: ")
	s := new(snapshot)
	if err := json.Unmarshal([]byte(text), s); !ok || err != nil || !strings.HasSuffix(text, "\n\n") {
		t.Fatalf("%v in the event %q", err, event)
	}
	return s
}

func get(p http.Handler, method, url string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	p.ServeHTTP(w, httptest.NewRequest(method, url, nil))
	return w
}

// elapse lets d pass on the bubble's clock.
func elapse(d time.Duration) { <-time.After(d) }

// pace publishes n messages a second by turns to topics, until ctx ends.
func pace(ctx context.Context, c *mqtt.Client, q mqtt.QoS, n int, topic func(i int) string) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	began, sent := time.Now(), 0
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		for ; sent < int(time.Since(began).Seconds()*float64(n)); sent++ {
			select {
			case c.Publishes() <- mqtt.Publishing{Message: mqtt.Message{Topic: topic(sent), Payload: []byte("21.5"), QoS: q}}:
			case <-ctx.Done():
				return
			}
		}
	}
}
