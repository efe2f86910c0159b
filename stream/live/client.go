package live

import (
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-millrace/mqtt"
)

// A client is a client of a Page, with its events.
type client struct {
	page     *Page
	name     string
	mqtt     *mqtt.Client // nil before Add; guarded by the lock of the Page
	observed atomic.Bool  // by Page.Observer
	topics   topics
	history  history
}

func (c *client) published(row []mqtt.Published) {
	if c.page.watched.Load() > 0 {
		c.topics.published(row)
	}
}

func (c *client) delivered(row []mqtt.Delivered) {
	if c.page.watched.Load() > 0 {
		c.topics.delivered(row)
	}
}

func (c *client) attempted(a mqtt.Attempted) {
	if a.Err != nil {
		c.history.add(a.Began.Add(a.Took), "failed", c.page.errorText(a.Err))
		return
	}
	c.history.add(a.Began.Add(a.Took), "online", online(a.Endpoint, a.Version, a.Resumed))
}

func (c *client) warned(r slog.Record) {
	var text strings.Builder
	text.WriteString(r.Message)
	if c.page.Topics >= 0 {
		r.Attrs(func(a slog.Attr) bool {
			text.WriteString(" " + a.String())
			return true
		})
	}
	c.history.add(r.Time, "warning", text.String())
}

func online(endpoint string, v mqtt.Version, resumed bool) string {
	text := endpoint + ", MQTT " + v.String()
	if resumed {
		text += ", session resumed"
	}
	return text
}

// errorText returns the text of an error, or a description of it if topics are hidden.
func (p *Page) errorText(err error) string {
	switch {
	case err == nil:
		return ""
	case p.Topics < 0:
		return hiddenText(err)
	}
	return err.Error()
}

const (
	maxHistory = 50  // entries
	maxText    = 500 // bytes of an entry
)

// history keeps the newest events of a client. Equal consecutive events share one entry.
type history struct {
	mu      sync.Mutex
	entries []entry
}

// An entry is an event of a kind: online, failed (an attempt), lost (a connection), ended, warning.
type entry struct {
	At    int64  `json:"at"` // the last time, in ms since 1970
	Kind  string `json:"kind"`
	Text  string `json:"text"`
	Count int    `json:"count"`
}

func (h *history) add(at time.Time, kind, text string) {
	if len(text) > maxText {
		text = text[:maxText] + "…"
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.entries); n > 0 && h.entries[n-1].Kind == kind && h.entries[n-1].Text == text {
		h.entries[n-1].Count++
		h.entries[n-1].At = at.UnixMilli()
		return
	}
	if len(h.entries) == maxHistory {
		h.entries = append(h.entries[:0], h.entries[1:]...)
	}
	h.entries = append(h.entries, entry{at.UnixMilli(), kind, text, 1})
}

// newest returns the entries, the newest first.
func (h *history) newest() []entry {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]entry, 0, len(h.entries))
	for i := len(h.entries) - 1; i >= 0; i-- {
		list = append(list, h.entries[i])
	}
	return list
}
