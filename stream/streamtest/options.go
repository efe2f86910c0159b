package streamtest

import "time"

// settings holds the values that Options set.
type settings struct {
	timeout    time.Duration
	buffer     int
	sendBuffer int // of the direction to the client; 0: no limit
	fromClient int // rates in bytes per second; 0: no limit
	toClient   int
	tcp        bool
	autoPing   bool
	open       bool
}

// Option configures a Broker in New.
type Option func(*settings)

// Timeout sets how long a step of a script waits for the client before the test fails. Zero means
// the default: 30 s outside a synctest bubble, and an hour inside a bubble, where waiting costs
// nothing and intervals of minutes are common.
func Timeout(d time.Duration) Option { return func(o *settings) { o.timeout = d } }

// Buffer sets the number of bytes that a client may write before the broker reads. Zero means
// [DefaultBuffer]; a negative number means no limit.
func Buffer(bytes int) Option { return func(o *settings) { o.buffer = bytes } }

// SendBuffer sets the number of bytes that the broker may send before the client reads. When that
// many bytes are unread, a step that sends waits, and fails the test after [Timeout]. So a script
// is a broker that writes from the loop in which it reads: while it waits to write, it does not
// read. Zero, the default, means no limit.
func SendBuffer(bytes int) Option { return func(o *settings) { o.sendBuffer = max(bytes, 0) } }

// Rate makes every connection a slow line. It limits the bytes per second that travel from the
// client and to the client. Zero means no limit in that direction. [Conn.SetRate] changes the rates
// of one connection, and [PipeConn.SetRate] says when bytes arrive.
//
// Bytes on their way take room in the buffers of [Buffer] and SendBuffer, as in the send queue of a
// socket. In a synctest bubble the times are exact.
func Rate(fromClient, toClient int) Option {
	return func(o *settings) { o.fromClient, o.toClient = fromClient, toClient }
}

// TCP makes Dial return a [net.TCPConn] that is connected over the loopback interface, so that a
// test covers the code of a client that uses the socket itself. Scripts stay the same, with these
// differences:
//
//   - TCP does not work in a synctest bubble: time goes on while bytes travel.
//   - Bytes that the client has written may not have arrived yet. So ExpectNone and
//     [Conn.ExpectQuiet] show less than on a connection in memory.
//   - The buffers of the kernel hold bytes in addition to Buffer and SendBuffer, about 1 MiB in
//     each direction that is bounded. When these are full too, the client's writes wait, also after
//     [Conn.Stall].
//   - [Conn.Writes] and [Conn.Reads] count segments, not calls of the client, [Conn.Unread] leaves
//     out the bytes in the kernel, and the kernel may join the segments of [Conn.SendSplit].
func TCP() Option { return func(o *settings) { o.tcp = true } }

// AutoPing makes each step that waits answer PINGREQ and go on waiting, so that the script never
// sees a PINGREQ.
func AutoPing() Option { return func(o *settings) { o.autoPing = true } }

// KeepOpen leaves the broker's side of a connection open when the client calls CloseWrite, like a
// frozen broker. Without KeepOpen, the broker's side closes at once when the client calls
// CloseWrite, as brokers do after DISCONNECT; the script needs no step for that. If a client wraps
// its connection in a type without CloseWrite, the script must close the connection.
func KeepOpen() Option { return func(o *settings) { o.open = true } }

// inBubble recognizes a synctest bubble by its clock, which starts in the year 2000.
func inBubble() bool { return time.Now().Year() < 2009 }

func defaultTimeout() time.Duration {
	if inBubble() {
		return time.Hour
	}
	return 30 * time.Second
}
