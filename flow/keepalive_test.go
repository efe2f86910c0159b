package flow

import (
	"testing"
	"time"
)

const sec = time.Second

// actionNames holds the names of the actions for error messages.
var actionNames = map[PingAction]string{NoPing: "nothing", SendPing: "PINGREQ", PeerDead: "dead", LineDead: "stuck"}

// A checkStep is one event of a connection and the call of Check after it. Times are in seconds
// since CONNECT.
type checkStep struct {
	at      float64
	event   string // "sent", "heard", "resumed", "answered", "written", "left" or none
	bytesIn uint64
	paused  bool
	writing bool
	want    PingAction
	bytes   uint64 // of "written" and "left"
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(sec)) }

func runChecks(t *testing.T, name string, interval float64, steps []checkStep) {
	t.Helper()
	k := NewKeepAlive(seconds(interval), min(seconds(interval), 10*sec), 0, 0)
	for _, s := range steps {
		now := seconds(s.at)
		switch s.event {
		case "sent": // at once, with no send queue
			k.Sent(now)
			if k.queued && !k.written {
				k.PingWritten(now, 0)
				k.Measured(now, 0)
			}
		case "written":
			k.Sent(now)
			k.PingWritten(now, s.bytes)
		case "left":
			k.Measured(now, s.bytes)
		case "heard":
			k.Heard(now, s.bytesIn)
		case "resumed":
			k.Resumed(now)
		case "answered":
			k.Answered()
		}
		got := k.Check(now, s.bytesIn, s.paused, s.writing)
		if got != s.want {
			t.Errorf("%s: after %v: %s, want %s", name, now, actionNames[got], actionNames[s.want])
		}
		if got == SendPing {
			k.Pinged(now, s.bytesIn, s.paused)
		}
	}
}

func TestPingreqIsDueAfterNineTenthsOfTheIntervalWithoutSending(t *testing.T) {
	runChecks(t, "silence", 10, []checkStep{
		{at: 8.999},
		{at: 9, want: SendPing},
		{at: 9, event: "sent"},
		{at: 17.999},
		{at: 18, want: SendPing}, // the second PINGREQ, before the PINGRESP to the first is overdue
	})
	runChecks(t, "received packets do not count as sent", 10, []checkStep{
		{at: 8, event: "heard", bytesIn: 4},
		{at: 9, bytesIn: 4, want: SendPing},
	})
	runChecks(t, "a write under way is no silence", 10, []checkStep{
		{at: 8, event: "heard"},
		{at: 9, writing: true},
		{at: 16, writing: true, event: "heard"},
		{at: 24, writing: true},
		{at: 24, want: SendPing},
	})
	runChecks(t, "off", 0, []checkStep{{at: 1e6}})
}

// U1
func TestPingreqIsDueAfterNineTenthsOfTheIntervalWithoutReceiving(t *testing.T) {
	runChecks(t, "our own packets prove nothing", 10, []checkStep{
		{at: 4, event: "sent"},
		{at: 8, event: "sent"},
		{at: 8.999, writing: true},
		{at: 9, writing: true, want: SendPing}, {at: 9, event: "sent"},
		{at: 12, event: "sent"},
		{at: 18.5, event: "sent"},
		{at: 18.999},
		{at: 19, want: PeerDead},
	})
	runChecks(t, "an answer", 10, []checkStep{
		{at: 8, event: "sent"},
		{at: 9, want: SendPing}, {at: 9, event: "sent"},
		{at: 9.5, event: "heard"}, {at: 9.5, event: "answered"},
		{at: 16, event: "sent"},
		{at: 18.499},
		{at: 18.5, want: SendPing},
	})
}

// U2
func TestPingTimeoutBeginsWhenPingreqHasLeftTheSendQueue(t *testing.T) {
	ping := []checkStep{{at: 9, writing: true, want: SendPing}}
	runChecks(t, "a slow line", 10, append(ping[:1:1], []checkStep{
		{at: 10, writing: true, event: "left", bytes: 500}, // the first measurement shows no progress
		{at: 18.5, writing: true, event: "left", bytes: 500},
		{at: 18.9, writing: true, event: "left", bytes: 501},
		{at: 28, writing: true, event: "left", bytes: 502},
		{at: 30, event: "written", bytes: 600},
		{at: 37, event: "left", bytes: 599},
		{at: 46.5, event: "left", bytes: 600, want: SendPing}, // the second PINGREQ, since nothing was sent
		{at: 46.5, event: "sent"},
		{at: 50, event: "left", bytes: 700}, // bytes that leave after the PINGREQ extend nothing
		{at: 56.499, want: SendPing}, {at: 56.499, event: "sent"},
		{at: 56.5, want: PeerDead},
	}...))
	runChecks(t, "a queue that stands still", 10, append(ping[:1:1], []checkStep{
		{at: 9, event: "written", bytes: 600},
		{at: 9, event: "left", bytes: 500},
		{at: 12, event: "left", bytes: 550},
		{at: 18, event: "sent"},
		{at: 21.999, event: "left", bytes: 550},
		{at: 22, want: LineDead},
	}...))
	runChecks(t, "a PINGREQ that is never written", 10, append(ping[:1:1], []checkStep{
		{at: 18.999, writing: true},
		{at: 19, writing: true, want: LineDead},
	}...))
}

func TestPingreqIsMeasuredFromTheConnectPacket(t *testing.T) {
	k := NewKeepAlive(10*sec, 10*sec, 1*sec, 5*sec) // the CONNACK took four seconds
	equal(t, "first time", k.Next(5*sec, false), 10*sec)
	equal(t, "at 10 s", k.Check(10*sec, 0, false, false), SendPing)
}

func TestPeerIsDeadWithoutPingrespForTheInterval(t *testing.T) {
	runChecks(t, "short interval", 5, []checkStep{
		{at: 4.5, want: SendPing}, {at: 4.5, event: "sent"},
		{at: 9, want: SendPing}, {at: 9, event: "sent"}, // this PINGREQ does not extend the wait for PINGRESP
		{at: 9.499},
		{at: 9.5, want: PeerDead},
	})
	runChecks(t, "long interval, at most ten seconds", 60, []checkStep{
		{at: 54, want: SendPing}, {at: 54, event: "sent"},
		{at: 63.999},
		{at: 64, want: PeerDead},
	})
	runChecks(t, "also while writing", 60, []checkStep{
		{at: 54, want: SendPing}, {at: 54, event: "sent"},
		{at: 64, writing: true, want: PeerDead},
	})
	runChecks(t, "an answer", 60, []checkStep{
		{at: 54, want: SendPing}, {at: 54, event: "sent"},
		{at: 63.999, event: "answered"},
		{at: 64},
		{at: 108, want: SendPing}, {at: 108, event: "sent"}, // a new wait for PINGRESP begins
		{at: 117.999},
		{at: 118, want: PeerDead},
	})
	runChecks(t, "without PINGREQ nothing is awaited", 60, []checkStep{
		{at: 50, event: "heard"},
		{at: 50, event: "sent"},
		{at: 103.999},
		{at: 104, want: SendPing},
	})
}

func TestReceivedBytesExtendTheWaitForPingresp(t *testing.T) {
	ping := []checkStep{{at: 54, bytesIn: 7, want: SendPing}, {at: 54, event: "sent", bytesIn: 7}}
	runChecks(t, "a packet", 60, append(ping[:2:2], []checkStep{
		{at: 60, event: "heard", bytesIn: 9},
		{at: 69.999, bytesIn: 9},
		{at: 70, bytesIn: 9, want: PeerDead},
	}...))
	runChecks(t, "a long packet under way", 60, append(ping[:2:2], []checkStep{
		{at: 64, bytesIn: 8},
		{at: 73.999, bytesIn: 8},
		{at: 74, bytesIn: 9},
		{at: 83.999, bytesIn: 9},
		{at: 84, bytesIn: 9, want: PeerDead},
	}...))
	runChecks(t, "bytes from before the PINGREQ", 60, []checkStep{
		{at: 1, event: "heard", bytesIn: 7},
		{at: 54, bytesIn: 9, want: SendPing}, {at: 54, event: "sent", bytesIn: 9},
		{at: 64, bytesIn: 9, want: PeerDead},
	})
	runChecks(t, "a second PINGREQ hides no bytes", 5, []checkStep{
		{at: 4.5, bytesIn: 7, want: SendPing}, {at: 4.5, event: "sent", bytesIn: 7},
		{at: 9, bytesIn: 8, want: SendPing}, {at: 9, event: "sent", bytesIn: 8},
		{at: 9.5, bytesIn: 8},
		{at: 14.499, bytesIn: 8, want: SendPing},
		{at: 14.5, bytesIn: 8, want: PeerDead},
	})
}

// U4
func TestPausedConnectionIsDeadOnlyIfItDoesNotTakePingreq(t *testing.T) {
	runChecks(t, "each PINGREQ of a pause must leave the queue", 10, []checkStep{
		{at: 9, paused: true, want: SendPing}, {at: 9, event: "sent", paused: true},
		{at: 17.999, event: "sent", paused: true},
		{at: 18, paused: true, want: SendPing},
		{at: 18, event: "written", bytes: 4, paused: true},
		{at: 27, event: "left", bytes: 2, paused: true, want: SendPing},
		{at: 27.999, event: "written", bytes: 6, paused: true},
		{at: 28, paused: true, want: LineDead},
	})
	runChecks(t, "a PINGRESP must come after the pause", 10, []checkStep{
		{at: 9, want: SendPing}, {at: 9, event: "sent"},
		{at: 25, paused: true, want: SendPing}, {at: 25, event: "sent", paused: true},
		{at: 31, event: "resumed"},
		{at: 33.999},
		{at: 34, want: SendPing}, {at: 34, event: "sent"},
		{at: 40.999},
		{at: 41, want: PeerDead},
	})
}

func TestPausedConnectionIsNotDeadForLackOfPingresp(t *testing.T) {
	runChecks(t, "pause", 60, []checkStep{
		{at: 54, want: SendPing}, {at: 54, event: "sent"},
		{at: 64, paused: true},
		{at: 107, paused: true},
		{at: 108, paused: true, want: SendPing}, {at: 108, event: "sent", paused: true},
		{at: 110, event: "resumed"},
		{at: 119.999},
		{at: 120, want: PeerDead},
	})
}

func TestNextIsWhenCheckHasSomethingToDo(t *testing.T) {
	off := NewKeepAlive(0, 0, 0, 0)
	equal(t, "without keep alive", off.Next(sec, false), 0)
	var zero KeepAlive
	equal(t, "of the zero value", zero.Next(sec, false), 0)

	k := NewKeepAlive(60*sec, 32*sec, 0, 0)
	equal(t, "at first", k.Next(0, false), 54*sec)
	k.Check(54*sec, 0, false, false)
	k.Pinged(54*sec, 0, false)
	equal(t, "with a PINGREQ in the batch", k.Next(54*sec, false), 55*sec)
	k.Measured(55*sec, 1)
	equal(t, "with a PINGREQ in the queue", k.Next(55*sec, false), 56*sec)
	k.Sent(55 * sec)
	k.PingWritten(55*sec, 2)
	equal(t, "when it was written", k.Next(55*sec, false), 55*sec+1) // not now, which has passed for a timer
	k.Measured(55*sec, 2)
	equal(t, "when it has left", k.Next(55*sec, false), 87*sec)
	equal(t, "the same in a pause", k.Next(55*sec, true), 108*sec)
	k.Sent(80 * sec)
	k.Heard(81*sec, 2)
	k.Answered()
	equal(t, "after the PINGRESP", k.Next(81*sec, false), 134*sec)
	k.Sent(82 * sec)
	equal(t, "after a packet of our own", k.Next(82*sec, false), 135*sec)
}
