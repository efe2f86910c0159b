package stream

import (
	"testing"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

func newTestIntake() *intake {
	in := newIntake(false, &publishCalls{wake: func() {}})
	return &in
}

// room returns the room for n messages.
func room(n int) flow.Room {
	s := flow.NewSender[owner](1, new(flow.Identifiers), nil, nil)
	s.Limit(flow.QueueLimit{Messages: n})
	return s.Room()
}

// mixed returns a run of messages with the given QoS levels.
func mixed(place uint64, qos ...frames.QoS) stageRun {
	run := stageRun{place: place}
	for _, q := range qos {
		run.messages = append(run.messages, frames.Message{Topic: "t", QoS: q})
	}
	return run
}

func repeat(q frames.QoS, n int) []frames.QoS {
	list := make([]frames.QoS, n)
	for i := range list {
		list[i] = q
	}
	return list
}

// To receive a publication is to accept it. So the intake receives no publication while the queue
// has no room.
func TestNothingIsReceivedWhileTheQueueIsFull(t *testing.T) {
	in := newTestIntake()
	in.stageRuns()
	if p, r := in.channels(room(1)); p == nil || r == nil {
		t.Error("there is room, and nothing is received")
	}
	if p, r := in.channels(room(0)); p != nil || r != nil {
		t.Error("there is no room, and something is received")
	}
	in.overflows = true
	if p, r := in.channels(room(0)); p == nil || r == nil {
		t.Error("nothing is received, although it need not wait for room")
	}
}

func TestTheRestOfARunWaitsForRoom(t *testing.T) {
	in := newTestIntake()
	if in.rests() || in.ready(room(2)) {
		t.Error("an empty intake has resting messages")
	}
	in.leaveRest(mixed(3, 1))
	if !in.rests() || !in.ready(room(1)) || in.ready(room(0)) {
		t.Error("a rest is ready when there is room, and only then")
	}
	if run := in.takeRest(); run.place != 3 || len(run.messages) != 1 || in.rests() {
		t.Error("the rest is taken once and whole")
	}
}

func TestCallsThatFoundNoRoomAreReadyWhenThereIs(t *testing.T) {
	in := newTestIntake()
	for range 4 {
		in.calls.leave(begin(in.calls, ""))
	}
	if n := len(in.takeCalls(room(2))); n != 2 {
		t.Fatalf("took %d calls into room for 2", n)
	}
	if in.callsReady(room(0)) || !in.callsReady(room(1)) {
		t.Error("the calls left are ready when there is room, and only then")
	}
	if n := len(in.takeCalls(room(-2))); n != 0 {
		t.Errorf("took %d calls into a queue that is more than full", n)
	}
	if n := len(in.takeCalls(room(3))); n != 2 || in.callsReady(room(3)) {
		t.Errorf("took %d calls, want the last 2", n)
	}
}

func TestFlushWaitsForTheRestOfARun(t *testing.T) {
	in := newTestIntake()
	flush, dropped := make(chan error, 1), make(chan error, 1)
	in.leaveRest(mixed(0, 0, 0)) // these will be publications 8 and 9
	in.flush(7, flush)
	in.flush(7, dropped)
	in.dropFlush(dropped)
	in.takeRest()
	in.flushed(9)
	select {
	case <-flush:
		t.Fatal("flushed with a publication left")
	default:
	}
	in.flushed(10)
	<-flush
	select {
	case <-dropped:
		t.Error("a dropped flush was answered")
	default:
	}
}

func TestFlushDoesNotWaitForARefusedRest(t *testing.T) {
	in := newTestIntake()
	flush := make(chan error, 2)
	in.flush(3, flush)
	in.leaveRest(mixed(0, 0, 0))
	in.flush(7, flush) // with publications 8 and 9
	in.takeRest()
	in.refuseRest(nil, 7, nil)
	if in.flushed(7); len(in.flushes) != 1 {
		t.Errorf("%d flushes wait for publication 7, want 1", len(in.flushes))
	}
	if in.flushed(8); len(in.flushes) != 0 {
		t.Error("a flush waits for publications that were refused")
	}
}

// A run is split where QoS 0 messages begin and end, around a message with an expiry interval of
// its own, and where the room in the queue ends. The places of the parts stay consecutive.
func TestARunIsSplitByQoSExpiryAndRoom(t *testing.T) {
	qos := append(repeat(0, 5), 1, 2, 1)
	qos = append(qos, repeat(0, 4)...)
	type part struct {
		place uint64
		n     int
	}
	for name, c := range map[string]struct {
		room, expires int
		want          []part
	}{
		"room for all":         {100, -1, []part{{7, 5}, {12, 3}, {15, 4}}},
		"room for a part":      {3, -1, []part{{7, 3}, {10, 2}, {12, 3}}},
		"room for one":         {1, -1, []part{{7, 1}, {8, 1}}},
		"no room":              {0, -1, []part{{7, 0}}},
		"the first expires":    {100, 0, []part{{7, 1}, {8, 4}, {12, 3}}},
		"one within expires":   {100, 6, []part{{7, 5}, {12, 1}, {13, 1}, {14, 1}, {15, 4}}},
		"the last one expires": {100, 11, []part{{7, 5}, {12, 3}, {15, 3}, {18, 1}}},
	} {
		run := mixed(7, qos...)
		if c.expires >= 0 {
			run.messages[c.expires].Properties = &frames.Properties{Expiry: time.Second}
		}
		for _, want := range c.want {
			p := run.take(room(c.room))
			if got := (part{p.place, len(p.messages)}); got != want {
				t.Errorf("%s: took %+v, want %+v", name, got, want)
			}
		}
	}
}
