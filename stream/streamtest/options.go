package streamtest

import "time"

// settings are what the Options of New set.
type settings struct {
	timeout  time.Duration
	buffer   int
	autoPing bool
	open     bool
}

// Option changes a Broker at New.
type Option func(*settings)

// Timeout is how long a step of a script waits for the client before the test fails. The default, also for 0, is 30 s,
// and an hour in a synctest bubble, where waiting costs nothing and an interval of a minute is nothing unusual.
func Timeout(d time.Duration) Option { return func(o *settings) { o.timeout = d } }

// Buffer is how many bytes a client may write before the broker reads; 0 means [DefaultBuffer], negative no limit.
// What the broker sends is never limited, so no step of a script waits for the client to read.
func Buffer(bytes int) Option { return func(o *settings) { o.buffer = bytes } }

// AutoPing answers PINGREQ while a step waits for something else, and hides it from the script.
func AutoPing() Option { return func(o *settings) { o.autoPing = true } }

// KeepOpen leaves the broker's side of a connection open when the client closes its own: a broker that is frozen.
// Without it the broker closes in answer to CloseWrite, at once and without a step of the script, as brokers do after
// DISCONNECT. A client whose connection is wrapped in something without CloseWrite waits for the script to close.
func KeepOpen() Option { return func(o *settings) { o.open = true } }

// defaultTimeout tells a bubble by its clock, which starts in the year 2000.
func defaultTimeout() time.Duration {
	if time.Now().Year() < 2009 {
		return time.Hour
	}
	return 30 * time.Second
}
