package stream

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// A logQueue passes log records to the handler of the user, on a goroutine that runs while there
// are records. So a handler that is slow, or that calls the client, holds nothing up.
//
// Invariant: records reach the handler in the order in which they were logged. Beyond maxRecords
// they are dropped, and the next record tells how many.
type logQueue struct {
	life *life

	mu      sync.Mutex
	records []logRecord
	running bool // the goroutine runs
	dropped int
}

// A logRecord is a record, and the handler for it.
type logRecord struct {
	handler slog.Handler
	record  slog.Record
}

// maxRecords is how many records may wait. It is more than one batch of packets makes at Debug.
const maxRecords = 4096

// logThrough returns a logger whose records reach the handler of l through a queue.
func logThrough(l *slog.Logger, life *life) *slog.Logger {
	if l.Handler() == slog.DiscardHandler {
		return l
	}
	return slog.New(queueHandler{l.Handler(), &logQueue{life: life}})
}

// add appends a record, and starts the goroutine if it does not run.
func (q *logQueue) add(r logRecord) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.records) >= maxRecords {
		q.dropped++
		return
	}
	q.records = append(q.records, r)
	if !q.running {
		q.running = q.life.start(logWriter, q.run)
	}
}

// run passes records to their handlers until none waits. If Close no longer waits for the handler,
// the rest is dropped.
func (q *logQueue) run() {
	for records := q.take(nil); len(records) > 0; records = q.take(records) {
		for _, r := range records {
			if q.life.helpersEnded() {
				return
			}
			r.handler.Handle(context.Background(), r.record)
		}
	}
}

// take returns the records that wait. If there are none, the goroutine is about to end.
func (q *logQueue) take(spare []logRecord) []logRecord {
	clear(spare)
	q.mu.Lock()
	defer q.mu.Unlock()
	records := q.records
	q.records = spare[:0]
	if q.dropped > 0 {
		r := slog.NewRecord(time.Now(), slog.LevelWarn, "the log handler is slow, and records were dropped", 0)
		r.AddAttrs(slog.Int("records", q.dropped))
		records = append(records, logRecord{records[len(records)-1].handler, r})
		q.dropped = 0
	}
	if len(records) == 0 {
		q.running, q.records = false, nil
	}
	return records
}

// A warnings handler passes the records at Warn and above to Options.Observer, and all records to
// the handler of the user.
type warnings struct {
	slog.Handler // of the user
	observer     *observer
}

func (h warnings) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn || h.Handler.Enabled(ctx, level)
}

func (h warnings) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		h.observer.warned(r)
	}
	if !h.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

func (h warnings) WithAttrs(attrs []slog.Attr) slog.Handler {
	return warnings{h.Handler.WithAttrs(attrs), h.observer}
}

func (h warnings) WithGroup(name string) slog.Handler {
	return warnings{h.Handler.WithGroup(name), h.observer}
}

// A queueHandler is the handler of the session's own logger.
type queueHandler struct {
	slog.Handler // of the user
	queue        *logQueue
}

func (h queueHandler) Handle(_ context.Context, r slog.Record) error {
	h.queue.add(logRecord{h.Handler, r})
	return nil
}

func (h queueHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return queueHandler{h.Handler.WithAttrs(attrs), h.queue}
}

func (h queueHandler) WithGroup(name string) slog.Handler {
	return queueHandler{h.Handler.WithGroup(name), h.queue}
}
