package stream_test

import (
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// A peer is a client with one Subscription, and its connection.
type peer struct {
	*stream.Session
	sub  *stream.Subscription
	conn *streamtest.Conn
}

// peers returns n clients. Each subscribes to the filter a.
func peers(t *testing.T, b *streamtest.Broker, n int, o *stream.Options) []peer {
	t.Helper()
	all := make([]peer, n)
	for i := range all {
		s, c := connected(t, b, o)
		all[i] = peer{s, subscribed(t, s, c, "a", exactly), c}
	}
	return all
}

func TestMergeTakesTurnsAndEachAckFindsItsClient(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		p := peers(t, b, 2, nil)
		ch := stream.Merge(p[0].sub, p[1].sub)
		p[0].conn.Send(inboundRun("a", atLeast, 1, 5)...)
		synctest.Wait()
		p[1].conn.Send(inboundRun("a", exactly, 11, 2)...)
		var got []stream.Delivery
		for _, want := range []string{"1", "11", "2", "12", "3", "4", "5"} {
			d := takeFrom(t, ch)
			if string(d.Payload) != want {
				t.Fatalf("received %q, want %q", d.Payload, want)
			}
			got = append(got, d)
		}
		p[0].conn.ExpectNone()
		p[1].conn.ExpectNone()
		got[1].Ack()
		p[1].conn.Expect(ack(pubrec, 11))
		p[0].conn.ExpectNone()
		stream.Batch(got).Ack() // of both clients
		p[0].conn.Expect(ackRun(puback, 1, 5)...)
		p[1].conn.Expect(ack(pubrec, 12))
	})
}

func TestMergeIsClosedWhenItsLastSubscriptionHasEnded(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		p := peers(t, b, 3, &stream.Options{NoReconnect: true})
		ch := stream.Merge(p[0].sub, p[1].sub, p[2].sub)
		for i, one := range p {
			one.conn.Send(inboundRun("a", atLeast, 10*i+1, 2)...)
			synctest.Wait()
		}
		p[0].Close()
		wantPayloads(t, ch, "11", "21") // the messages of the closed client are taken back
		p[1].conn.Drop()
		drained := inBackground(func() error { return p[2].sub.Drain(t.Context()) })
		p[2].conn.Unsuback(streamtest.Next[frames.Unsubscribe](p[2].conn))
		wantPayloads(t, ch, "12")
		wantIdle(t, drained)
		wantPayloads(t, ch, "22")
		wantEnd(t, ch)
		if err := takeFrom(t, drained); err != nil {
			t.Error(err)
		}
		if err := errors.Join(p[0].sub.Err(), p[2].sub.Err()); err != nil {
			t.Errorf("Err after Close and Drain: %v", err)
		}
		if p[1].sub.Err() == nil {
			t.Error("no Err after the end of the connection of a client with NoReconnect")
		}
		wantEnd(t, stream.Merge(p[0].sub, p[1].sub, p[2].sub))
	})
}

func TestMergeThatNobodyReadsBlocksNoClientAndEndsWithTheLastOne(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		p := peers(t, b, 2, &stream.Options{MaxUnread: 4096, ClientID: "k", KeepSession: true})
		ch := stream.Merge(p[0].sub, p[1].sub)
		for i := range 200 { // more than MaxUnread of one client
			p[0].conn.Send(publish("a", fmt.Sprintf("%0100d", i), atLeast, uint16(i+1), false))
		}
		p[1].conn.Send(publish("a", "x", atLeast, 1, false))
		synctest.Wait()
		elapse(time.Second)
		if st := p[0].Stats(); !st.Paused || st.UnreadBytes < 4096 {
			t.Errorf("the client with many messages: reading paused %v, %d bytes wait", st.Paused, st.UnreadBytes)
		}
		if p[1].Stats().Paused {
			t.Error("the other client has paused reading")
		}
		published := inBackground(func() error { return p[1].Publish(t.Context(), message("b", "y", atLeast)) })
		p[1].conn.Complete(streamtest.Next[frames.Publish](p[1].conn))
		if err := takeFrom(t, published); err != nil {
			t.Error(err)
		}
		p[0].Close()
		p[0].conn.ExpectDisconnect() // no ack before it: the session keeps every message
		p[1].Close()
		p[1].conn.ExpectDisconnect()
		wantEnd(t, ch)
	})
}

func TestMergeNamesTheSubscriptionThatItCannotUse(t *testing.T) {
	for _, c := range []struct {
		want string
		subs func(t *testing.T, one, two, three *stream.Subscription) []*stream.Subscription
	}{
		{"subs[1] is nil", func(t *testing.T, one, two, _ *stream.Subscription) []*stream.Subscription {
			return []*stream.Subscription{one, nil, two}
		}},
		{"subs[2] is the same Subscription as subs[0]", func(t *testing.T, one, two, _ *stream.Subscription) []*stream.Subscription {
			return []*stream.Subscription{one, two, one}
		}},
		{"subs[1] is consumed by Messages already", using(func(sub *stream.Subscription) { sub.Messages() })},
		{"subs[1] is consumed by Deliveries already", using(func(sub *stream.Subscription) { sub.Deliveries() })},
		{"subs[1] is consumed by Batches already", using(func(sub *stream.Subscription) { sub.Batches(1, 0) })},
		{"subs[1] is consumed by Latest already", using(func(sub *stream.Subscription) { sub.Latest(stream.LatestOptions{}) })},
		{"subs[1] is consumed by Decode already", using(func(sub *stream.Subscription) {
			stream.Decode(sub, func(frames.Message) (int, error) { return 0, nil })
		})},
		{"subs[1] is consumed by another Merge already", func(t *testing.T, one, two, three *stream.Subscription) []*stream.Subscription {
			stream.Merge(two, three)
			return []*stream.Subscription{one, two}
		}},
		{"subs[1] is consumed by a range loop already", func(t *testing.T, one, two, _ *stream.Subscription) []*stream.Subscription {
			go func() {
				for range two.All(t.Context()) {
				}
			}()
			synctest.Wait()
			return []*stream.Subscription{one, two}
		}},
		{"subs[1] is consumed by a range loop already", func(t *testing.T, one, two, _ *stream.Subscription) []*stream.Subscription {
			go func() {
				for range two.AllBatches(t.Context(), 1) {
				}
			}()
			synctest.Wait()
			return []*stream.Subscription{one, two}
		}},
	} {
		t.Run(c.want, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				p := peers(t, b, 3, nil)
				subs := c.subs(t, p[0].sub, p[1].sub, p[2].sub)
				wantEnd(t, stream.Merge(subs...))
				for i, sub := range subs {
					var bad *stream.OptionError
					if sub != nil && (!errors.As(sub.Err(), &bad) || bad.Error() != "mqtt: "+c.want) {
						t.Errorf("Err of subs[%d] is %v, want %q", i, sub.Err(), c.want)
					}
				}
				p[0].conn.Send(publish("a", "free", atLeast, 1, false))
				wantPayloads(t, stream.Merge(p[0].sub), "free") // the first Subscription is still free
			})
		})
	}
}

// using returns the arguments of a call of Merge whose second Subscription has another consumer.
func using(consume func(*stream.Subscription)) func(t *testing.T, one, two, three *stream.Subscription) []*stream.Subscription {
	return func(_ *testing.T, one, two, _ *stream.Subscription) []*stream.Subscription {
		consume(two)
		return []*stream.Subscription{one, two}
	}
}

func TestMergeReturnsTheSameChannelAtEveryCall(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		p := peers(t, b, 2, nil)
		p[0].conn.Send(publish("a", "0", atLeast, 100, false))
		for d := range p[0].sub.All(t.Context()) { // a loop that has ended is no consumer
			d.Ack()
			break
		}
		ch := stream.Merge(p[0].sub, p[1].sub)
		p[0].conn.Send(inboundRun("a", atLeast, 1, 5)...)
		for _, want := range countUp(1, 5) {
			if same := stream.Merge(p[0].sub, p[1].sub); same != ch {
				t.Fatal("a second call returned another channel")
			}
			wantPayloads(t, ch, want)
		}
		if err := p[0].sub.Err(); err != nil {
			t.Error(err)
		}
	})
}

func TestMergeNeedsAGoroutineForEachSubscriptionUntilItsEnd(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		p := peers(t, b, 2, nil)
		more := subscribed(t, p[1].Session, p[1].conn, "b", atLeast)
		before := goroutines()
		check := func(moment string, want int) {
			t.Helper()
			if got := goroutines() - before; got != want {
				t.Errorf("%s: %d goroutines more, want %d", moment, got, want)
			}
		}
		stream.Merge(p[0].sub, p[1].sub, more)
		check("merged", 3)
		stream.Merge(p[0].sub, p[1].sub, more)
		check("the same again", 3)
		p[0].conn.Send(inboundRun("a", atLeast, 1, 3)...)
		check("with messages that nobody receives", 3)
		done := inBackground(func() error { return more.Unsubscribe(t.Context()) })
		p[1].conn.Unsuback(streamtest.Next[frames.Unsubscribe](p[1].conn))
		if err := takeFrom(t, done); err != nil {
			t.Error(err)
		}
		check("after Unsubscribe", 2)
		p[0].Close()
		p[1].Close()
		check("after Close", -before)
	})
}

func TestMergeOfNothingIsClosed(t *testing.T) {
	wantClosed := func(ch <-chan stream.Delivery) {
		t.Helper()
		if _, open := <-ch; open {
			t.Error("a message came")
		}
	}
	wantClosed(stream.Merge())
	wantClosed(stream.Merge(nil))
	wantClosed(stream.Merge(new(stream.Subscription)))
}

// A mergeStep is something that happens to one of several clients.
type mergeStep struct {
	client  int
	arrive  int // number of messages that the broker sends
	receive int // number of messages that the consumer asks for, from any client
	close   bool
}

// Clients get messages and end in any order, while a consumer receives or sleeps. The messages of
// each client come in order and without a gap, and the channel is closed after the last client.
func TestMergeKeepsTheOrderOfEachSubscriptionInAnyHistory(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		clients := rapid.IntRange(1, 4).Draw(rt, "clients")
		steps := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) mergeStep {
			step := mergeStep{client: rapid.IntRange(0, clients-1).Draw(rt, "client")}
			switch rapid.IntRange(0, 8).Draw(rt, "kind") {
			case 0:
				step.close = true
			case 1, 2, 3, 4:
				step.arrive = rapid.IntRange(1, 100).Draw(rt, "messages")
			default:
				step.receive = rapid.IntRange(1, 150).Draw(rt, "receives")
			}
			return step
		}), 1, 30).Draw(rt, "steps")
		ok := t.Run("", func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				m := &mergeModel{t: t, peers: peers(t, b, clients, nil)}
				m.sent, m.received, m.closed = make([]int, clients), make([]int, clients), make([]bool, clients)
				m.run(steps)
			})
		})
		if !ok {
			rt.FailNow()
		}
	})
}

type mergeModel struct {
	t              *testing.T
	peers          []peer
	sent, received []int // number of messages of each client
	closed         []bool
}

func (m *mergeModel) run(steps []mergeStep) {
	var subs []*stream.Subscription
	for _, p := range m.peers {
		subs = append(subs, p.sub)
	}
	ch := stream.Merge(subs...)
	for _, step := range steps {
		i := step.client
		switch p := m.peers[i]; {
		case step.close:
			p.Close()
			m.closed[i] = true
		case step.arrive > 0 && !m.closed[i]:
			var packets []frames.Packet
			for n := range step.arrive {
				n += m.sent[i]
				packets = append(packets, publish("a", fmt.Sprint(i, n), atLeast, uint16(n+1), false))
			}
			p.conn.Send(packets...)
			m.sent[i] += step.arrive
		}
		for range step.receive {
			m.receive(ch)
		}
	}
	for _, p := range m.peers {
		p.Close()
	}
	wantEnd(m.t, ch)
}

// receive receives a message if one waits, which must be the next of its client, and acknowledges
// it.
func (m *mergeModel) receive(ch <-chan stream.Delivery) {
	synctest.Wait()
	select {
	case d, open := <-ch:
		var from, n int
		if fmt.Sscanf(string(d.Payload), "%d %d", &from, &n); open && (m.closed[from] || n != m.received[from]) {
			m.t.Fatalf("received message %d of client %d (closed %v), want %d", n, from, m.closed[from], m.received[from])
		}
		if open {
			m.received[from]++
			d.Ack()
			m.peers[from].conn.Expect(ack(puback, uint16(n+1)))
		}
	default:
		for i := range m.peers {
			if !m.closed[i] && m.received[i] < m.sent[i] {
				m.t.Fatalf("client %d: nothing comes after %d of %d messages", i, m.received[i], m.sent[i])
			}
		}
	}
}

// Two Subscriptions in which messages wait take turns, also if the consumer never waits. The
// clients need several threads for that, so this test runs in real time. It has several tries,
// since the system may stop the thread of one client.
func TestMergeTakesTurnsForAConsumerThatNeverWaits(t *testing.T) {
	b := streamtest.New(t)
	p := peers(t, b, 2, nil)
	ch := stream.Merge(p[0].sub, p[1].sub)
	const n, tries = 2000, 10
	for try := range uint64(tries) {
		for i, one := range p {
			for first := i*n + 1; first <= i*n+n; first += n / 10 {
				one.conn.Send(inboundRun("a", atMost, first, n/10)...)
			}
			for one.Stats().Received < (try+1)*n {
				runtime.Gosched()
			}
		}
		changes, last := 0, 0
		for range 2 * n {
			d := <-ch
			number, err := strconv.Atoi(string(d.Payload))
			if err != nil {
				t.Fatal(err)
			}
			if client := (number - 1) / n; client != last {
				changes, last = changes+1, client
			}
		}
		t.Logf("the client changed %d times in %d messages", changes, 2*n)
		if changes >= n/20 { // without turns there are fewer than ten
			return
		}
	}
	t.Errorf("no try of %d took turns", tries)
}
