package streamtest

import "time"

// settings holds the values that Options set.
type settings struct {
	timeout  time.Duration
	buffer   int
	autoPing bool
	open     bool
}

// Option configures a Broker in New.
type Option func(*settings)

// Timeout sets how long a step of a script waits for the client before the test fails. The default,
// also for 0, is 30 s outside a synctest bubble, and an hour inside, where waiting costs nothing
// and intervals of minutes are common.
func Timeout(d time.Duration) Option { return func(o *settings) { o.timeout = d } }

// Buffer sets the number of bytes a client may write before the broker reads; 0 means
// [DefaultBuffer], negative no limit. The other direction has no limit, so no step of a script
// waits for the client to read.
func Buffer(bytes int) Option { return func(o *settings) { o.buffer = bytes } }

// AutoPing answers each PINGREQ while a step waits, and hides it from the script.
func AutoPing() Option { return func(o *settings) { o.autoPing = true } }

// KeepOpen leaves the broker's side of a connection open when the client closes its own, like a
// frozen broker. Without it the broker closes in answer to CloseWrite, at once and without a step
// of the script, as brokers do after DISCONNECT. A client that wraps its connection in a type
// without CloseWrite waits for the script to close.
func KeepOpen() Option { return func(o *settings) { o.open = true } }

// defaultTimeout recognizes a bubble by its clock, which starts in the year 2000.
func defaultTimeout() time.Duration {
	if time.Now().Year() < 2009 {
		return time.Hour
	}
	return 30 * time.Second
}
