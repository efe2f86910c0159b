package stream_test

import (
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

func TestSubscriptionsTellWhichConsumerHoldsMessages(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{KeepAlive: -1})
		quick, slow := subscribed(t, s, c, "quick/#", exactly), subscribed(t, s, c, "slow", atLeast)
		c.Send(publish("slow", "1", atLeast, 1, false))
		held := <-slow.Deliveries()
		elapse(3 * time.Second)
		c.Send(publish("quick/a", "2", atLeast, 2, false), publish("slow", "3", atLeast, 3, false),
			publish("quick/b", "4", exactly, 4, false), publish("quick/c", "56", atMost, 0, false))
		synctest.Wait() // the second message of slow lies in the buffer of its channel
		elapse(time.Second)

		want := []stream.SubscriptionInfo{
			{Filters: []frames.Filter{filterOf("quick/#", exactly)}, Granted: []frames.QoS{exactly},
				Inbox: 3, Unacked: 2, OldestUnacked: time.Second},
			{Filters: []frames.Filter{filterOf("slow", atLeast)}, Granted: []frames.QoS{atLeast},
				Unacked: 2, OldestUnacked: 4 * time.Second},
		}
		got := s.Subscriptions()
		want[0].InboxBytes = s.Stats().InboxBytes
		wantInfos(t, got, want...)

		held.Ack()
		for range 3 {
			(<-quick.Deliveries()).Ack()
		}
		c.Expect(ack(puback, 1), ack(puback, 2))
		want[0] = stream.SubscriptionInfo{Filters: want[0].Filters, Granted: want[0].Granted}
		want[1].Unacked, want[1].OldestUnacked = 1, time.Second
		wantInfos(t, s.Subscriptions(), want...)

		s.Close()
		wantInfos(t, s.Subscriptions())
	})
}

func TestSubscriptionsTellHowFarTheBrokerHasAnswered(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, nil)
		filters := []frames.Filter{filterOf("a", atLeast), filterOf("secret", exactly)}
		if _, err := s.Declare(filters...); err != nil {
			t.Fatal(err)
		}
		sub := streamtest.Next[frames.Subscribe](c)
		wantInfos(t, s.Subscriptions(), stream.SubscriptionInfo{Filters: filters, Granted: []frames.QoS{0, 0}, Asking: true})
		c.Send(frames.Suback{ID: sub.ID, Codes: []frames.ReasonCode{frames.GrantedQoS1, frames.UnspecifiedError}})
		synctest.Wait()
		wantInfos(t, s.Subscriptions(), stream.SubscriptionInfo{
			Filters: filters, Granted: []frames.QoS{atLeast, 0}, Refused: filters[1:]})

		other := subscribed(t, s, c, "other", atMost)
		left := inBackground(func() error { return other.Unsubscribe(t.Context()) })
		u := streamtest.Next[frames.Unsubscribe](c)
		if infos := s.Subscriptions(); len(infos) != 2 || !infos[1].Leaving || infos[1].Filters[0].Topic != "other" {
			t.Errorf("while a Subscription leaves: %+v", infos)
		}
		c.Send(unsuback(u))
		if err := <-left; err != nil || len(s.Subscriptions()) != 1 {
			t.Errorf("after the UNSUBACK: %v, %+v", err, s.Subscriptions())
		}
	})
}

// The message of a kept session waits unclaimed until a Subscription claims it.
func TestAClaimedMessageCountsForItsNewSubscription(t *testing.T) {
	bubble(t, func(t *testing.T, b *streamtest.Broker) {
		s, c := connected(t, b, &stream.Options{KeepAlive: -1})
		c.Send(publish("old", "1", atLeast, 1, false))
		synctest.Wait()
		elapse(time.Minute)
		subscribed(t, s, c, "old", atLeast)
		if infos := s.Subscriptions(); len(infos) != 1 || infos[0].Unacked != 1 || infos[0].Inbox != 1 ||
			infos[0].OldestUnacked != time.Minute {
			t.Errorf("%+v", infos)
		}
	})
}

func wantInfos(t *testing.T, got []stream.SubscriptionInfo, want ...stream.SubscriptionInfo) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d Subscriptions, want %d: %+v", len(got), len(want), got)
	}
	for i := range got {
		got, want := got[i], want[i]
		if len(got.Refused) == 0 && len(want.Refused) == 0 {
			got.Refused, want.Refused = nil, nil
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("Subscription %d:\n%+v, want\n%+v", i+1, got, want)
		}
	}
}
