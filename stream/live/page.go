// Package live serves a web page that shows MQTT clients at work: connection, window and queue,
// unacknowledged messages, rates, latencies, topics and Subscriptions, every second.
//
//	http.Handle("/debug/mqtt", live.Handler(client))
//
// # Requirements
//
// The page needs no build step and no internet. The script uPlot draws the charts (assets/uplot.js,
// version 1.6.32, from the npm package uplot; MIT licence in assets/uplot.LICENSE). The handler
// serves every file from the path at which it is mounted, also below [http.StripPrefix].
//
// Rates by topic, and the history of connections from before the page was opened, need the events
// of the client. [Page.Observer] receives them:
//
//	page := &live.Page{}
//	client, err := mqtt.Dial(ctx, url, &mqtt.Options{Observer: page.Observer("boiler")})
//	...
//	page.Add("boiler", client)
//	http.Handle("/debug/mqtt", page)
//
// # Shutdown
//
// An open page is a request that does not end. Register [Page.Close] with
// [http.Server.RegisterOnShutdown], or [http.Server.Shutdown] waits for open pages until its
// context ends:
//
//	server.RegisterOnShutdown(page.Close)
//
// # Cost
//
// Without viewers the page takes no samples, and the functions of its Observer return at once. The
// first viewer starts one goroutine, which takes one snapshot a second for all viewers and ends
// with the last viewer. From then on the clients record Timings. For a client that publishes
// 100,000 messages a second to 1,000 topics, all of this takes 1 to 2 % of a core. Less than half a
// percent is the work of the page itself, which "go test -bench ASecond" measures; the rest is the
// work of the client for its Observer and its Timings.
//
// # Security
//
// The page is read-only: it answers GET and HEAD, and has no action. It shows no payload, no
// password and no user information of a URL. It shows topics, filters, broker addresses and error
// texts. So mount it where only operators have access, and set Topics to -1 where topics are
// confidential: then it shows no topics, no filters and no error texts. Its Content-Security-Policy
// permits no inline script and no other origin, and the page inserts topics and errors only as
// text.
package live

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-millrace/mqtt"
)

// Page is an [http.Handler] that shows clients. The zero value is a page without clients. Set the
// fields before the first use. The methods are safe for concurrent use.
type Page struct {
	// Title is the heading of the page; empty: "MQTT clients".
	Title string

	// Slow is the age from which these are red: the oldest unacknowledged delivery, the oldest
	// publication in the queue or in flight, a commit of the Store. 0 is 10 s.
	Slow time.Duration

	// Topics is the number of topics shown for each client. The topics with the highest rates are
	// shown; the others share one row. 0 is 20. If it is negative, the page shows no topics and no
	// filters, and hides texts that can contain them: the attributes of warnings, and the texts of
	// errors, which can quote the broker or an HTTP server. In place of the text of an error it
	// shows the kind of the error and the reason code, and says that the text is hidden.
	Topics int

	// Viewers is the highest number of viewers at the same time; further viewers get status 503. 0
	// is 16.
	Viewers int

	feed    feed
	watched atomic.Int32 // feeds that run

	mu    sync.Mutex
	shown []*client // in order of Add, and of Observer before Add
}

// Handler returns a Page that shows clients under the names "client 1", "client 2" and so on.
func Handler(clients ...*mqtt.Client) *Page {
	p := &Page{}
	for i, c := range clients {
		p.Add(numbered(i+1), c)
	}
	return p
}

// Add shows c under name. It replaces an earlier client of this name, and keeps the history.
func (p *Page) Add(name string, c *mqtt.Client) {
	shown := p.client(name)
	p.mu.Lock()
	defer p.mu.Unlock()
	shown.mqtt = c
}

// Remove removes the client with this name, with its topics and history. A client that has ended
// stays on the page until it is removed.
func (p *Page) Remove(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, c := range p.shown {
		if c.name == name {
			p.shown = append(p.shown[:i:i], p.shown[i+1:]...)
			return
		}
	}
}

// Observer returns functions for Options.Observer of the client that Add shows under name. They
// count messages by topic while there are viewers, and keep the last 50 connection attempts and
// warnings. To use an Observer of your own too, call these functions from your functions. Published
// and Delivered are nil if Topics is negative.
func (p *Page) Observer(name string) *mqtt.Observer {
	c := p.client(name)
	c.observed.Store(true)
	o := &mqtt.Observer{Attempt: c.attempted, Warned: c.warned}
	if p.Topics >= 0 {
		o.Published, o.Delivered = c.published, c.delivered
	}
	return o
}

// Close ends the streams of all viewers, present and future. [http.Server.Shutdown] does not end
// them, so register Close with [http.Server.RegisterOnShutdown].
func (p *Page) Close() { p.feed.close() }

// client returns the client with this name. If there is none, it adds one.
func (p *Page) client(name string) *client {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.shown {
		if c.name == name {
			return c
		}
	}
	c := &client{page: p, name: name}
	p.shown = append(p.shown, c)
	return c
}

// clients returns the clients to be shown.
func (p *Page) clients() (list []sampled) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.shown {
		if c.mqtt != nil {
			list = append(list, sampled{c, c.mqtt})
		}
	}
	return list
}

// sampled is a client of a snapshot.
type sampled struct {
	*client
	now *mqtt.Client
}

func (p *Page) slow() time.Duration { return orDefault(p.Slow, 10*time.Second) }
func (p *Page) topics() int         { return orDefault(p.Topics, 20) }
func (p *Page) viewers() int        { return orDefault(p.Viewers, 16) }

func orDefault[T int | time.Duration](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}

// ServeHTTP serves the page, its files and its stream.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "this page is read-only", http.StatusMethodNotAllowed)
		return
	}
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "+
		"img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	if r.URL.Query().Get("get") == "events" {
		p.stream(w, r)
		return
	}
	serveAsset(w, r)
}
