package frames

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestPropertiesComeBackFromTheirBlock(t *testing.T) {
	for name, p := range map[string]*Properties{
		"none":                   nil,
		"text":                   {Text: true},
		"content type":           {ContentType: "text/plain"},
		"response topic":         {ResponseTopic: "reply/ü"},
		"correlation data":       {Correlation: []byte{0, 1, 2}},
		"empty correlation data": {Correlation: []byte{}},
		"user properties":        {User: []UserProperty{{"b", "1"}, {"a", ""}, {"b", "2"}, {"", ""}}},
		"expiry":                 {Expiry: 4_294_967_295 * time.Second, expires: true},
		"identifiers":            {Subscriptions: []uint32{268_435_455, 1, 1}},
		"the longest strings":    {ContentType: strings.Repeat("c", MaxString), Correlation: make([]byte, MaxString)},
		"all": {Text: true, Expiry: time.Second, ContentType: "c", ResponseTopic: "r", Correlation: []byte("x"),
			User: []UserProperty{{"n", "v"}}, Subscriptions: []uint32{128}, expires: true},
	} {
		b, err := AppendProperties([]byte("before"), p)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		block := b[len("before"):]
		got, err := ParseProperties(block)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		clear(block)
		if !reflect.DeepEqual(got, p) {
			t.Errorf("%s: got %+v, want %+v", name, got, p)
		}
	}
}

func TestPropertiesWithoutValuesHaveAnEmptyBlock(t *testing.T) {
	b, err := AppendProperties(nil, &Properties{User: []UserProperty{}})
	if err != nil || len(b) > 0 {
		t.Errorf("%x, %v", b, err)
	}
	for _, b := range [][]byte{nil, {}, {byte(propPayloadFormat), 0}} {
		if p, err := ParseProperties(b); p != nil || err != nil {
			t.Errorf("%x: %+v, %v", b, p, err)
		}
	}
}

func TestABlockOfInvalidPropertiesIsRefused(t *testing.T) {
	for field, p := range map[string]*Properties{
		"content type":              {ContentType: strings.Repeat("c", MaxString+1)},
		"response topic":            {ResponseTopic: "a/#"},
		"correlation data":          {Correlation: make([]byte, MaxString+1)},
		"value of user property 2":  {User: []UserProperty{{}, {Value: "\xFF"}}},
		"message expiry interval":   {Expiry: -time.Second},
		"subscription identifier":   {Subscriptions: []uint32{1, 0}},
		"subscription identifier\t": {Subscriptions: []uint32{268_435_456}},
	} {
		b, err := AppendProperties([]byte("before"), p)
		var invalid *InvalidError
		if !errors.As(err, &invalid) || invalid.Field != strings.TrimSpace(field) || string(b) != "before" {
			t.Errorf("%s: %q, %v", field, b, err)
		}
	}
}

func TestABlockThatIsNotOfAPublishIsRefused(t *testing.T) {
	for name, b := range map[string][]byte{
		"cut short":                 {byte(propContentType), 0, 5, 'a'},
		"a reserved identifier":     {0x7F},
		"a property of CONNACK":     {byte(propMaximumQoS), 1},
		"a topic alias":             {byte(propTopicAlias), 0, 1},
		"the same one twice":        {byte(propPayloadFormat), 1, byte(propPayloadFormat), 1},
		"a response topic of a set": {byte(propResponseTopic), 0, 1, '#'},
		"no UTF-8":                  {byte(propUser), 0, 1, 0xFF, 0, 0},
	} {
		p, err := ParseProperties(b)
		var broken *ProtocolError
		if !errors.As(err, &broken) || p != nil {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}

func FuzzBlockOfPropertiesIsRefusedOrComesBackTheSame(f *testing.F) {
	for _, p := range []*Properties{
		{Text: true, Expiry: time.Second, ContentType: "c", ResponseTopic: "r", Correlation: []byte("x")},
		{Correlation: []byte{}, User: []UserProperty{{"n", "v"}, {"n", ""}}, Subscriptions: []uint32{1, 268_435_455}},
	} {
		b, err := AppendProperties(nil, p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParseProperties(bytes.Clone(b))
		if err != nil {
			return
		}
		again, err := AppendProperties(nil, p)
		if err != nil {
			return // the parser accepts control characters, which must not be sent
		}
		if got, err := ParseProperties(again); err != nil || !reflect.DeepEqual(got, p) {
			t.Errorf("%x: %+v became %+v, %v", b, p, got, err)
		}
	})
}
