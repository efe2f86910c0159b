package stream_test

import (
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// U1: our own sending is no proof that the broker lives, whatever is sent.
func TestDeadBrokerIsNoticedWhateverIsSent(t *testing.T) {
	const keepAlive, timeout = 10 * time.Second, 4 * time.Second
	for name, row := range map[string]struct {
		options stream.Options
		qos     frames.QoS
	}{
		"QoS 0":                                {stream.Options{}, 0},
		"QoS 1 and a window that is not full":  {stream.Options{Window: 1000}, 1},
		"QoS 2 and a window that is not full":  {stream.Options{Window: 1000}, 2},
		"QoS 1 that is sent again":             {stream.Options{Version: frames.V311, Retry: &flow.Retry{Initial: time.Second, Max: time.Second}}, 1},
		"QoS 0 without a limit for one write":  {stream.Options{WriteTimeout: -1}, 0},
		"QoS 0 over a line that takes nothing": {stream.Options{WriteTimeout: time.Hour}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *streamtest.Broker) {
				o := row.options
				o.KeepAlive, o.PingTimeout, o.NoReconnect, o.Queue = keepAlive, timeout, true, 10_000
				s, c := connected(t, b, &o)
				start := time.Now()
				if strings.Contains(name, "takes nothing") {
					c.Stall()
				}
				acks := make(chan stream.Receipt, 10_000)
				for n := 0; ; n++ {
					select {
					case <-s.Done():
						if took := time.Since(start); took > keepAlive+timeout || took < keepAlive {
							t.Errorf("noticed after %v", took)
						}
						wantText(t, s.Err(), "PINGREQ")
						return
					case s.Publishes() <- stream.Publishing{Message: numbered(n, row.qos), Ack: acks}:
					}
					if time.Since(start) > time.Minute {
						t.Fatal("not noticed within a minute")
					}
					elapse(100 * time.Millisecond)
				}
			})
		})
	}
}

// U1. The loop writes PINGREQ to the socket itself, after its last look at the keep alive in this
// turn. Nothing else wakes the loop of an idle client.
func TestDeadBrokerOfAnIdleClientIsNoticedOnASocket(t *testing.T) {
	b := streamtest.New(t, streamtest.TCP())
	s, c := connected(t, b, &stream.Options{KeepAlive: time.Second, PingTimeout: 200 * time.Millisecond, NoReconnect: true})
	c.Expect(frames.Pingreq{})
	select {
	case <-s.Done():
		wantText(t, s.Err(), "did not answer PINGREQ")
		var late net.Error
		if !errors.As(s.Err(), &late) || !late.Timeout() {
			t.Errorf("%v is no timeout", s.Err())
		}
	case <-time.After(10 * time.Second):
		t.Error("not noticed within 10 s")
	}
}

// A broker that answers PINGREQ and nothing else lives.
func TestPingrespAloneKeepsTheConnection(t *testing.T) {
	bubbleOf(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{KeepAlive: 10 * time.Second})
		for range 100 {
			if err := s.Publish(t.Context(), message("t", "p", 0)); err != nil {
				t.Fatal(err)
			}
			c.ExpectType(frames.TypePublish) // answers each PINGREQ before it
			elapse(time.Second)
		}
		if n := s.Stats().Connections; n != 1 {
			t.Errorf("%d connections", n)
		}
	}, streamtest.AutoPing())
}

func TestPingTimeoutIsTheTimeForPingresp(t *testing.T) {
	for _, row := range []struct{ keepAlive, set, want time.Duration }{
		{10 * time.Second, 0, 10 * time.Second},
		{time.Minute, 0, 20 * time.Second},
		{time.Minute, 3 * time.Second, 3 * time.Second},
		{2 * time.Second, 5 * time.Minute, 5 * time.Minute},
	} {
		bubbleOf(t, func(t *testing.T, b *streamtest.Broker) {
			_, c := connected(t, b, &stream.Options{KeepAlive: row.keepAlive, PingTimeout: row.set, NoReconnect: true})
			c.Expect(frames.Pingreq{})
			start := time.Now()
			if slices.ContainsFunc(c.Rest(), func(p frames.Packet) bool { return p != frames.Pingreq{} }) {
				t.Error("other packets than PINGREQ")
			}
			wantElapsed(t, start, row.want)
		}, streamtest.Timeout(time.Hour))
	}
}

func TestPingTimeoutOutOfRangeIsRefused(t *testing.T) {
	for _, d := range []time.Duration{-1, 1, time.Millisecond - 1, 65535*time.Second + 1} {
		_, err := stream.Open("mqtt://broker", &stream.Options{PingTimeout: d})
		var option *stream.OptionError
		if !errors.As(err, &option) || option.Field != "PingTimeout" {
			t.Errorf("%v: %v", d, err)
		}
	}
}
