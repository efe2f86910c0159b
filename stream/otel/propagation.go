package mqttotel

import (
	"slices"

	"github.com/go-millrace/mqtt"
)

// A carrier has the trace context of a message in its user properties, as a
// propagation.TextMapCarrier. The names are in lower case.
type carrier struct{ message *mqtt.Message }

// Get implements propagation.TextMapCarrier.
func (c carrier) Get(key string) string {
	value, _ := c.message.Properties.Get(key)
	return value
}

// Set implements propagation.TextMapCarrier. Several messages may share their Properties, so Set
// changes a copy. Inject has removed older values.
func (c carrier) Set(key, value string) {
	var changed mqtt.Properties
	if p := c.message.Properties; p != nil {
		changed = *p
	}
	changed.User = append(slices.Clip(changed.User), mqtt.UserProperty{Name: key, Value: value})
	c.message.Properties = &changed
}

// Keys implements propagation.TextMapCarrier.
func (c carrier) Keys() (keys []string) {
	if c.message.Properties == nil {
		return nil
	}
	for _, u := range c.message.Properties.User {
		keys = append(keys, u.Name)
	}
	return keys
}

// remove removes all properties with these names.
func (c carrier) remove(keys []string) {
	p := c.message.Properties
	if p == nil || !slices.ContainsFunc(p.User, func(u mqtt.UserProperty) bool { return slices.Contains(keys, u.Name) }) {
		return
	}
	changed := *p
	changed.User = slices.DeleteFunc(slices.Clone(p.User), func(u mqtt.UserProperty) bool { return slices.Contains(keys, u.Name) })
	c.message.Properties = &changed
}
