package stream_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// U21: an Ack that has returned, and a receive from Messages, are settled by Close, whether there
// is a connection or not: the next client of the Store does not get the message again.
func TestAcksBeforeCloseAreInTheStore(t *testing.T) {
	const n = 50
	for _, online := range []bool{true, false} {
		for _, way := range []string{"Ack", "Messages"} {
			t.Run(fmt.Sprintf("%s, online %t", way, online), func(t *testing.T) {
				for range 20 {
					bubble(t, func(t *testing.T, b *streamtest.Broker) {
						store := flow.NewMemoryStore()
						s, c := connected(t, b, &stream.Options{ClientID: "k", KeepSession: true, Store: store, Reconnect: never()})
						sub := subscribed(t, s, c, "a", exactly)
						c.Send(inboundRun("a", exactly, 1, n)...)
						var held []stream.Delivery
						if way == "Ack" {
							for range n {
								held = append(held, takeFrom(t, sub.Deliveries()))
							}
						}
						if !online {
							synctest.Wait()
							c.Drop()
							synctest.Wait()
						}
						if way == "Messages" {
							for range n {
								takeFrom(t, sub.Messages())
							}
						}
						for _, d := range held {
							d.Ack()
						}
						s.Close()
						snap, err := store.Attach("k")
						if err != nil || len(snap.Received) != n {
							t.Fatalf("the Store has %d of %d identifiers, error %v", len(snap.Received), n, err)
						}
					})
				}
			})
		}
	}
}

// U12: Shutdown is called by the goroutine that reads Deliveries. It waits for the deliveries that
// were received, not for those in the channel's buffer.
func TestShutdownFromTheLoopThatReadsDeliveries(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{ClientID: "k", KeepSession: true})
		sub := subscribed(t, s, c, "a", atLeast)
		c.Send(inboundRun("a", atLeast, 1, 20)...)
		takeFrom(t, sub.Deliveries()).Ack()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		if err := s.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
		wantElapsed(t, began, 0)
		c.Expect(ack(puback, 1))
		c.ExpectDisconnect()
		wantEnd(t, sub.Deliveries())
	})
}

// U12: the same for the buffer of a Subscription that the broker has revoked, whose channel is
// closed.
func TestShutdownTakesBackTheBufferOfAClosedChannel(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, keepingSession())
		sub := subscribed(t, s, c, "a", atLeast)
		in := sub.Deliveries()
		c.Send(inboundRun("a", atLeast, 1, 20)...)
		synctest.Wait()
		c.Drop()
		c = b.Handshake(true)
		p := streamtest.Next[frames.Subscribe](c)
		c.Send(frames.Suback{ID: p.ID, Codes: []frames.ReasonCode{frames.UnspecifiedError}})
		synctest.Wait()
		if sub.Err() == nil {
			t.Fatal("the Subscription is not revoked")
		}
		c.Send(againRun("a", atLeast, 1, 20)...)
		takeFrom(t, in).Ack()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		if err := s.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
		wantElapsed(t, began, 0)
		wantEnd(t, in)
	})
}

// U14: publications that are accepted later do not hold Flush up.
func TestFlushDoesNotWaitForLaterPublications(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{Window: 10, Queue: 100})
		acks := make(chan stream.Receipt, 20)
		offer(s, 0, 3, atLeast, acks)
		first := nextPublishes(t, c, 3)
		flushed := inBackground(func() error { return s.Flush(t.Context()) })
		synctest.Wait()
		offer(s, 3, 6, atLeast, acks)
		later := nextPublishes(t, c, 3)
		c.Send(ack(puback, later[0].ID), ack(puback, first[0].ID), ack(puback, first[2].ID))
		wantPending(t, flushed)
		c.Send(ack(puback, first[1].ID))
		if err := takeFrom(t, flushed); err != nil {
			t.Fatal(err)
		}
	})
}

// When a stage gives up, Flush does not wait for messages of the stage that were not accepted.
func TestFlushReturnsAfterAStageHasGivenUp(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{Queue: 2, KeepAlive: noPing})
		acks := make(chan stream.Receipt, 3)
		offer(s, 0, 3, atLeast, acks) // fills the queue
		ctx, cancel := context.WithCancel(t.Context())
		out := s.PublishFrom(ctx, filled(20, 1))
		synctest.Wait()
		c.Complete(streamtest.Next[frames.Publish](c)) // makes room for one message of the stage
		synctest.Wait()
		flushed := inBackground(func() error { return s.Flush(t.Context()) })
		wantPending(t, flushed)
		cancel()
		for range out {
		}
		c.Complete(streamtest.Next[frames.Publish](c))
		c.Complete(streamtest.Next[frames.Publish](c))
		if err := takeFrom(t, flushed); err != nil {
			t.Fatal(err)
		}
	})
}

// U22: when NoReconnect ends the session, the channels and iterators hand over the messages that
// have arrived. Meanwhile no send blocks, and each publication gets its Receipt.
func TestNoReconnectHandsOverTheMessagesThatHaveArrived(t *testing.T) {
	const n = 600
	ways := map[string]func(*stream.Session) int{
		"Messages": func(s *stream.Session) (got int) {
			for range s.Messages() {
				got++
			}
			return got
		},
		"Deliveries": func(s *stream.Session) (got int) {
			for d := range s.Deliveries() {
				got++
				d.Ack()
			}
			return got
		},
		"All": func(s *stream.Session) (got int) {
			for _, err := range s.All(context.Background()) {
				if err == nil {
					got++
				}
			}
			return got
		},
		"a consumer that publishes": func(s *stream.Session) (got int) {
			acks := make(chan stream.Receipt, n)
			for range s.Messages() {
				select {
				case s.Publishes() <- publishing(got, atLeast, acks):
					if r := <-acks; !errors.Is(r.Err, stream.ErrNotSent) || !errors.Is(r.Err, stream.ErrClosed) {
						return -1
					}
				case <-s.Done(): // this was the last message
				}
				if err := s.Publish(context.Background(), message("a", "", atMost)); !errors.Is(err, stream.ErrClosed) {
					return -2
				}
				got++
			}
			return got
		},
	}
	for name, consume := range ways {
		for _, q := range levels {
			t.Run(name+", "+q.String(), func(t *testing.T) {
				bubble(t, func(t *testing.T, b *streamtest.Broker) {
					s, c := connected(t, b, &stream.Options{NoReconnect: true})
					c.Send(inboundRun("a", q, 1, n)...)
					c.Drop()
					synctest.Wait()
					if isDone(s) || s.Err() == nil {
						t.Fatalf("done %t, Err %v; want a session that waits for its consumers", isDone(s), s.Err())
					}
					if got := consume(s); got != n {
						t.Errorf("%d of %d messages were handed over", got, n)
					}
					<-s.Done()
					if _, err := s.Subscribe(t.Context(), frames.Filter{Topic: "b"}); !errors.Is(err, stream.ErrClosed) {
						t.Errorf("Subscribe: %v", err)
					}
				})
			})
		}
	}
}

func isDone(s *stream.Session) bool {
	select {
	case <-s.Done():
		return true
	default:
		return false
	}
}

// U22, U21: a session kept in a Store ends after the consumers have acked the messages that arrived
// before the end, and the Store has their acks.
func TestNoReconnectRecordsTheLastAcks(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		store := flow.NewMemoryStore()
		s, c := connected(t, b, &stream.Options{ClientID: "k", KeepSession: true, Store: store, NoReconnect: true})
		c.Send(inboundRun("a", exactly, 1, 3)...)
		in := s.Deliveries()
		c.Drop()
		synctest.Wait()
		for range 3 {
			d := takeFrom(t, in)
			synctest.Wait()
			if isDone(s) {
				t.Fatal("the session is over before the last Ack")
			}
			d.Ack()
		}
		<-s.Done()
		if snap, err := store.Attach("k"); err != nil || len(snap.Received) != 3 {
			t.Errorf("the Store has %v, error %v", snap.Received, err)
		}
	})
}

// Close and Shutdown end a session that waits for its consumers after NoReconnect.
func TestCloseAndShutdownEndTheWaitForConsumers(t *testing.T) {
	for name, end := range map[string]func(*stream.Session) error{
		"Close":    (*stream.Session).Close,
		"Shutdown": func(s *stream.Session) error { return s.Shutdown(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				s, c := connected(t, b, &stream.Options{NoReconnect: true})
				c.Send(inboundRun("a", atLeast, 1, 3)...)
				c.Drop()
				synctest.Wait()
				if err := end(s); err != nil {
					t.Fatal(err)
				}
				if !isDone(s) {
					t.Error("the session is not over")
				}
			})
		})
	}
}

// U13: code of the user may call Close, or not return. Close waits a second for it, and says so.
func TestCloseNamesCodeOfTheUserThatDoesNotReturn(t *testing.T) {
	closes := func(p *sessionPointer) func() { return func() { p.Load().Close() } }
	sleeps := func(*sessionPointer) func() { return func() { elapse(time.Hour) } }
	for name, does := range map[string]func(*sessionPointer) func(){"calls Close": closes, "sleeps": sleeps} {
		t.Run("a Decoder that "+name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				p := new(sessionPointer)
				user := does(p)
				s, c := connectedInto(t, b, nil, p)
				decode := func(frames.Message) (int, error) { user(); return 0, nil }
				stream.Decode(subscribed(t, s, c, "a", atMost), decode)
				c.Send(publish("a", "1", atMost, 0, false))
				synctest.Wait()
				wantText(t, callClose(t, s).within(0, time.Second), "1 Decoder")
				elapse(2 * time.Hour) // until the code of the user has returned
			})
		})
		t.Run("an Encoder that "+name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				p := new(sessionPointer)
				user := does(p)
				s, _ := connectedInto(t, b, nil, p)
				in := make(chan int, 1)
				in <- 1
				stream.PublishFrom(t.Context(), s, func(int) (frames.Message, error) { user(); return message("a", "", 0), nil }, in)
				synctest.Wait()
				wantText(t, callClose(t, s).within(0, 3*time.Second), "PublishFrom")
				elapse(2 * time.Hour) // until the code of the user has returned
			})
		})
		t.Run("a DialContext that "+name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				p := new(sessionPointer)
				user, began := does(p), make(chan struct{})
				s := open(t, b, &stream.Options{DialContext: func(context.Context, string, string) (net.Conn, error) {
					close(began)
					synctest.Wait()
					user()
					return nil, errors.New("no connection")
				}, NoReconnect: true})
				p.Store(s)
				<-began
				wantText(t, callClose(t, s).within(0, time.Second), "DialContext")
				elapse(2 * time.Hour) // until the code of the user has returned
			})
		})
		t.Run("a log handler that "+name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				p := new(sessionPointer)
				user := does(p)
				h := handlerFunc(func(r slog.Record) {
					if r.Message == "connected" {
						elapse(1)
						user()
					}
				})
				s, _ := connectedInto(t, b, &stream.Options{Logger: slog.New(h)}, p)
				elapse(2)
				wantText(t, callClose(t, s).within(0, 2*time.Second), "1 log handler")
				elapse(2 * time.Hour) // until the code of the user has returned
			})
		})
	}
}

// A sessionPointer gives code of the user its session.
type sessionPointer = atomic.Pointer[stream.Session]

// connectedInto sets p before the session is connected, so that code of the user can call it.
func connectedInto(t *testing.T, b *streamtest.Broker, o *stream.Options, p *sessionPointer) (*stream.Session, *streamtest.Conn) {
	s := open(t, b, o)
	p.Store(s)
	c := b.Handshake(false)
	<-s.Online()
	return s, c
}

type handlerFunc func(slog.Record)

func (f handlerFunc) Enabled(context.Context, slog.Level) bool      { return true }
func (f handlerFunc) Handle(_ context.Context, r slog.Record) error { f(r); return nil }
func (f handlerFunc) WithAttrs([]slog.Attr) slog.Handler            { return f }
func (f handlerFunc) WithGroup(string) slog.Handler                 { return f }

// U13: a log handler may call the client.
func TestALogHandlerMayCallTheClient(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		var s *stream.Session
		opened, calls := make(chan struct{}), 0
		h := handlerFunc(func(slog.Record) {
			<-opened
			if calls++; calls < 10 {
				s.Stats()
				s.Publish(context.Background(), message("log", "line", atMost)) // makes two more records
			}
		})
		s = open(t, b, &stream.Options{Logger: slog.New(h)})
		close(opened)
		b.Handshake(false)
		elapse(time.Second)
		if err := callClose(t, s).within(0, time.Second); err != nil {
			t.Fatal(err)
		}
		if calls < 10 {
			t.Errorf("the handler got %d records", calls)
		}
	})
}
