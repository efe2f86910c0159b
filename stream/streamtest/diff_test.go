package streamtest

import (
	"strings"
	"testing"

	"github.com/go-millrace/mqtt/frames"
)

func TestDiffListsFieldsOfOnePacketOnly(t *testing.T) {
	will := hello
	will.Will = &frames.Message{Topic: "w"}
	other := hello
	other.Will = &frames.Message{Topic: "v"}
	tests := []struct {
		name      string
		want, got frames.Packet
		diff      string
	}{
		{"identifier", ack(frames.TypePuback, 1), ack(frames.TypePuback, 2), "\n\tID: wanted 1, got 2"},
		{"inside the will", will, other, "\n\tWill.Topic: wanted \"w\", got \"v\""},
		{"no will wanted", hello, will, "\n\tWill.Topic: wanted none, got \"w\""},
		{"will wanted", will, hello, "\n\tWill.Topic: wanted \"w\", got none"},
		{"nil and empty", pub("a", "", 0, 0), frames.Publish{Message: frames.Message{Topic: "a"}},
			"\n\tfields agree, the bytes do not: wanted PUBLISH{Topic:\"a\"}"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := diff(tt.want, tt.got); !strings.Contains(got, tt.diff) {
				t.Errorf("got %q, want %q in it", got, tt.diff)
			}
		})
	}
}

func TestDescribeCutsWhatIsLong(t *testing.T) {
	filters := make([]frames.Filter, 1000)
	s := describe(frames.Subscribe{ID: 1, Filters: filters})
	if len(s) > 200 || !strings.HasPrefix(s, "SUBSCRIBE{ID:1 Filters:[{") {
		t.Errorf("%d bytes: %s", len(s), s)
	}
}
