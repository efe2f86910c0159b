package streamtest

import (
	"strings"
	"testing"
	"time"

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
		{"reason code", frames.Ack{Kind: frames.TypePuback, ID: 1}, frames.Ack{Kind: frames.TypePuback, ID: 1, AckReason: frames.AckReason{Code: frames.QuotaExceeded}},
			"\n\tCode: wanted success, got quota exceeded"},
		{"properties wanted", frames.Ack{ID: 1, AckReason: frames.AckReason{Properties: &frames.AckProperties{Reason: "no"}}}, frames.Ack{ID: 1},
			"\n\tProperties.Reason: wanted \"no\", got none"},
		{"a property that is 0", frames.Disconnect{}, frames.Disconnect{SessionExpiry: new(uint32)},
			"\n\tSessionExpiry: wanted none, got 0"},
		{"property of a message", with(frames.Properties{ContentType: "a"}), with(frames.Properties{ContentType: "b"}),
			"\n\tProperties.ContentType: wanted \"a\", got \"b\""},
		{"user properties", with(frames.Properties{User: []frames.UserProperty{{Name: "n", Value: "v"}}}), with(frames.Properties{}),
			"\n\tProperties.User: wanted [{Name:n Value:v}], got []"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := diff(tt.want, tt.got); !strings.Contains(got, tt.diff) {
				t.Errorf("got %q, want %q in it", got, tt.diff)
			}
		})
	}
}

// with makes a PUBLISH with properties.
func with(p frames.Properties) frames.Publish {
	return frames.Publish{Message: frames.Message{Topic: "a", Properties: &p}}
}

func TestDiffLeavesOutPropertiesWithoutAValue(t *testing.T) {
	got := diff(frames.Publish{Message: frames.Message{Topic: "a"}}, with(frames.Properties{Text: true}))
	if got != "\n\tProperties.Text: wanted none, got true" {
		t.Errorf("got %q", got)
	}
}

func TestDescribeShowsPropertiesAndCodes(t *testing.T) {
	none := uint16(0)
	for want, p := range map[string]frames.Packet{
		`CONNACK{Code:banned Properties.Reason:"too often" Properties.ServerKeepAlive:0}`: frames.Connack{
			Code: frames.Banned, Properties: &frames.ConnackProperties{Reason: "too often", ServerKeepAlive: &none}},
		`SUBACK{ID:1 Codes:[granted QoS 2 not authorized]}`: frames.Suback{ID: 1, Codes: []frames.ReasonCode{2, frames.NotAuthorized}},
		`PUBLISH{Topic:"a" Properties.Expiry:1m0s Properties.Correlation:"c" Properties.Subscriptions:[3 4]}`: with(
			frames.Properties{Expiry: time.Minute, Correlation: []byte("c"), Subscriptions: []uint32{3, 4}}),
	} {
		if got := describe(p); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestDescribeCutsLongValues(t *testing.T) {
	filters := make([]frames.Filter, 1000)
	s := describe(frames.Subscribe{ID: 1, Filters: filters})
	if len(s) > 200 || !strings.HasPrefix(s, "SUBSCRIBE{ID:1 Filters:[{") {
		t.Errorf("%d bytes: %s", len(s), s)
	}
}
