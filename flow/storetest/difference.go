package storetest

import (
	"bytes"
	"fmt"
	"reflect"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// difference returns a description of the first difference, or an empty string. Deadlines and
// intervals must be equal.
func difference(got, want flow.Snapshot) string {
	if !sameRecord(got.Session, want.Session) {
		return fmt.Sprintf("session record %+v, want %+v", text(got.Session), text(want.Session))
	}
	// A store without content may keep the owner of its last content.
	if got.Owner != want.Owner && (!want.Empty() || want.Session != nil) {
		return fmt.Sprintf("owner %q, want %q", got.Owner, want.Owner)
	}
	if fmt.Sprint(got.Received) != fmt.Sprint(want.Received) {
		return fmt.Sprintf("received identifiers %d, want %d", got.Received, want.Received)
	}
	if len(got.Publications) != len(want.Publications) {
		return fmt.Sprintf("%d publications, want %d", len(got.Publications), len(want.Publications))
	}
	for i, g := range got.Publications {
		if diff := publicationDifference(g, want.Publications[i]); diff != "" {
			return fmt.Sprintf("publication %d: %s", i, diff)
		}
	}
	return ""
}

func publicationDifference(got, want flow.Publication) string {
	if !bytes.Equal(got.Message.Payload, want.Message.Payload) {
		return "another payload"
	}
	if g, w := kept(got.Message.Properties), kept(want.Message.Properties); !reflect.DeepEqual(g, w) {
		return fmt.Sprintf("properties %#v, want %#v", g, w)
	}
	if !got.Deadline.Equal(want.Deadline) {
		return fmt.Sprintf("deadline %v, want %v", got.Deadline, want.Deadline)
	}
	got.Deadline, got.Message.Payload, got.Message.Properties = want.Deadline, want.Message.Payload, want.Message.Properties
	if !reflect.DeepEqual(got, want) {
		return fmt.Sprintf("%+v, want %+v", got, want)
	}
	return ""
}

// kept returns the properties that a store must keep.
func kept(p *frames.Properties) (k frames.Properties) {
	if p != nil {
		k = frames.Properties{Expiry: p.Expiry, ContentType: p.ContentType, ResponseTopic: p.ResponseTopic,
			Correlation: p.Correlation, Text: p.Text}
		k.User = append(k.User, p.User...) // nil, if there is none
	}
	return k
}

// sameRecord compares two records. A store need not keep a record that says no more than that the
// session is not of MQTT 5.
func sameRecord(got, want *flow.SessionRecord) bool {
	if got == nil || want == nil {
		return got == want || got == nil && want.Version < frames.V5 && want.ClientID == ""
	}
	return got.Version == want.Version && got.ClientID == want.ClientID && got.Expiry == want.Expiry && got.Seen.Equal(want.Seen)
}

func text(r *flow.SessionRecord) string {
	if r == nil {
		return "none"
	}
	return fmt.Sprintf("%+v", *r)
}
