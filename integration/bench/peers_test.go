package main

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// with connects a session of c to a null broker and passes the session to use.
func with(t *testing.T, c *contender, s scenario, use func(session, *broker) error) {
	t.Helper()
	defer goleak.VerifyNone(t)
	s.Payload, s.Clients, s.Filters = 64, 1, 1
	b, err := newBroker(&s)
	if err != nil {
		t.Fatal(err)
	}
	client, err := c.connect(&s, "test")
	if err == nil {
		err = errors.Join(use(client, b), client.Close())
	}
	if err := errors.Join(err, b.close()); err != nil {
		t.Error(err)
	}
}

// each runs test for every peer written in Go, at every QoS.
func each(t *testing.T, test func(t *testing.T, c *contender, qos byte)) {
	for _, c := range []contender{paho, pahoV5, atWat} {
		for qos := range byte(3) {
			t.Run(fmt.Sprintf("%s/QoS %d", c.name, qos), func(t *testing.T) { test(t, &c, qos) })
		}
	}
}

func TestBrokerCountsEachPublicationOfAPeer(t *testing.T) {
	each(t, func(t *testing.T, c *contender, qos byte) {
		for _, window := range []int{1, 10} {
			const n = 250
			with(t, c, scenario{Kind: publish, QoS: qos, Window: window, Messages: n}, func(s session, b *broker) error {
				if err := s.Publish(n); err != nil {
					return err
				}
				<-b.done() // at QoS 0 messages may still be in transit
				if got := b.completed.Load(); got != n {
					return fmt.Errorf("%d instead of %d", got, n)
				}
				return nil
			})
		}
	})
}

func TestBrokerHasSentAllReceivedMessages(t *testing.T) {
	each(t, func(t *testing.T, c *contender, qos byte) {
		for _, window := range []int{1, 10} {
			const n = 250
			with(t, c, scenario{Kind: receive, QoS: qos, Window: window, Messages: n}, func(s session, b *broker) error {
				if err := s.Receive(n, b.flood); err != nil {
					return err
				}
				if got := b.sent.Load(); qos > 0 && got < n {
					return fmt.Errorf("%d sent for %d received", got, n)
				}
				return nil
			})
		}
	})
}

func TestAPeerEchoes(t *testing.T) {
	each(t, func(t *testing.T, c *contender, qos byte) {
		rtt := make([]time.Duration, 50)
		with(t, c, scenario{Kind: echo, QoS: qos, Window: 1, Messages: len(rtt)}, func(s session, b *broker) error {
			if err := s.Echo(rtt); err != nil {
				return err
			}
			for i, d := range rtt {
				if d <= 0 {
					return fmt.Errorf("round trip %d took %v", i, d)
				}
			}
			return nil
		})
	})
}

func TestAPeerReturnsFromPublishWithTheAcks(t *testing.T) {
	for _, c := range []contender{paho, pahoV5, atWat} {
		t.Run(c.name, func(t *testing.T) {
			// The broker sends its first ack when it has received eleven messages.
			s := scenario{Kind: publish, QoS: 1, Window: 10, Messages: 11, Hold: 10}
			with(t, &c, s, func(s session, b *broker) error {
				ended := make(chan error, 1)
				go func() { ended <- s.Publish(10) }()
				select {
				case <-ended:
					return errors.New("Publish returned before the acks")
				case <-time.After(50 * time.Millisecond):
				}
				return errors.Join(s.Publish(1), <-ended)
			})
		})
	}
}

func TestAPeerThatLosesItsBrokerHasNotReceivedAll(t *testing.T) {
	for _, c := range []contender{pahoV5, atWat} {
		t.Run(c.name, func(t *testing.T) {
			defer goleak.VerifyNone(t)
			s := scenario{Kind: receive, QoS: 1, Payload: 64, Window: 10, Messages: 10, Clients: 1, Filters: 1}
			b, err := newBroker(&s)
			if err != nil {
				t.Fatal(err)
			}
			client, err := c.connect(&s, "test")
			if err != nil {
				t.Fatal(err)
			}
			err = client.Receive(10, func() {
				if err := b.close(); err != nil {
					t.Error(err)
				}
			})
			if err == nil {
				t.Error("Receive returned no error")
			}
			_ = client.Close() // may fail: the connection has ended
		})
	}
}
