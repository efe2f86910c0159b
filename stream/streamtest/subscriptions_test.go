package streamtest

import (
	"reflect"
	"testing"

	"github.com/go-millrace/mqtt/frames"
)

func TestSubscriptionsThatMatchDecideTogether(t *testing.T) {
	var s subscriptions
	s.add(frames.Filter{Topic: "a/#"}, 3)
	s.add(frames.Filter{Topic: "a/b", QoS: 2}, 0)
	s.add(frames.Filter{Topic: "+/b", QoS: 1, NoLocal: true, RetainAsPublished: true}, 4)
	s.add(frames.Filter{Topic: "c", NoLocal: true}, 5)
	tests := []struct {
		topic string
		own   bool
		want  match
	}{
		{"a/b", false, match{true, frames.ExactlyOnce, true, []uint32{3, 4}}},
		{"a/b", true, match{true, frames.ExactlyOnce, false, []uint32{3}}},
		{"a", false, match{wanted: true, identifiers: []uint32{3}}},
		{"c", true, match{}},
		{"d", false, match{}},
	}
	for _, tt := range tests {
		if got := s.match(tt.topic, tt.own); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s, own %v: %+v, want %+v", tt.topic, tt.own, got, tt.want)
		}
	}
}

func TestASubscriptionReplacesOneWithItsFilter(t *testing.T) {
	var s subscriptions
	s.add(frames.Filter{Topic: "a", QoS: 2}, 3)
	s.add(frames.Filter{Topic: "a", QoS: 1}, 0)
	if got := s.match("a", false); !reflect.DeepEqual(got, match{wanted: true, qos: 1}) {
		t.Errorf("got %+v", got)
	}
	if !s.remove("a") || s.remove("a") || s.match("a", false).wanted {
		t.Error("a filter is removed once")
	}
}
