package stream

import (
	"testing"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// recorders return functions that record one event each, for Timings and for the Observer.
func recorders(r *timings, o *observer) map[string]func() {
	c := &clock{epoch: time.Now()}
	published := outcomes{clock: c, timings: r, observer: o}
	ended := flow.Ended[owner]{Owner: owner{tag: new(stage)}, Message: frames.Message{Topic: "out", QoS: frames.AtLeastOnce},
		Rest: make([]frames.Message, 10)}

	handed := handovers{clock: c, timings: r, observer: o}
	times := &chunkTimes{arrived: make([]time.Duration, 10)}
	deliveries := make([]Delivery, 10)
	for i := range deliveries {
		times.arrived[i], deliveries[i] = 1, Delivery{Message: frames.Message{Topic: "in", QoS: frames.AtLeastOnce}}
	}
	value := newestValue{message: frames.Message{Topic: "in"}, arrived: 1}
	seqs := make([]uint64, len(deliveries))
	next := uint64(1)
	return map[string]func(){
		"publications that end": func() { published.ended(&ended, nil) },
		"deliveries that are handed over and acknowledged": func() {
			oldest := next
			for i := range deliveries {
				deliveries[i].seq, seqs[i] = next, next
				handed.expect(&deliveries[i])
				next++
			}
			handed.over(&chunk{deliveries: deliveries, times: times}, len(deliveries))
			handed.acked(seqs, nil, oldest, handed.now())
		},
		"a message of Latest": func() { handed.message(times, &value) },
		"a connection":        func() { r.connect(time.Millisecond) },
		"a commit":            func() { r.committed(r.committing()) },
		"a ping":              func() { r.ping(r.elapsed(0, c)) },
	}
}

// Recording allocates nothing, once the scratch memory has its size. The tests of whole exchanges
// allow more, since they count the memory of all goroutines and of the messages.
func TestARecordedEventAllocatesNothing(t *testing.T) {
	const events = 10_000
	seen := 0
	o := &observer{Observer: Observer{
		Published: func(row []Published) { seen += len(row) },
		Delivered: func(row []Delivered) { seen += len(row) },
		Acked:     func(row []Acked) { seen += len(row) },
	}}
	r := new(timings)
	r.read(new(Timings))
	for name, record := range recorders(r, o) {
		n := 1.0
		for try := 0; try < 3 && n > 0; try++ { // the count is that of the process
			n = testing.AllocsPerRun(1, func() {
				for range events {
					record()
				}
			})
		}
		if n != 0 {
			t.Errorf("%s: %v allocations in %d events", name, n, events)
		}
	}
	var got Timings
	r.read(&got)
	if seen == 0 || got.Published[1].Count == 0 || got.HandedOver.Count == 0 || got.Acked.Count == 0 ||
		got.Connect.Count == 0 || got.Commit.Count == 0 || got.Ping.Count == 0 {
		t.Errorf("not all events were recorded: %d seen, %+v", seen, got)
	}
}
