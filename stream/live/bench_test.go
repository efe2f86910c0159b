package live

import (
	"fmt"
	"testing"
	"time"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// Each iteration does the work of a page with a viewer in one second: it counts 100,000
// publications to 1,000 topics, which the client reports in rows of a size, and makes a snapshot.
// The metric is the share of a core that this work takes. The work of the client, for the rows and
// its Timings, is not part of it.
func BenchmarkASecondOf100000Messages(b *testing.B) {
	const messages, topics = 100_000, 1000
	for _, size := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("rows of %d", size), func(b *testing.B) {
			broker := streamtest.New(b)
			broker.Respond(&streamtest.Responder{})
			p := &Page{}
			observer := p.Observer("a")
			c, err := mqtt.Dial(b.Context(), "mqtt://broker", &mqtt.Options{DialContext: broker.Dial})
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			p.Add("a", c)
			p.watched.Add(1) // as with a viewer
			s := newSampling(p)
			s.take(time.Now())
			all := make([]mqtt.Published, messages)
			for i := range all {
				all[i].Topic = fmt.Sprintf("plant/line/%d/sensor/%03d", i%topics%7, i%topics)
			}
			for b.Loop() {
				for n := 0; n < messages; n += size {
					observer.Published(all[n : n+size])
				}
				event(s.take(time.Now()))
			}
			second := b.Elapsed().Seconds() / float64(b.N)
			b.ReportMetric(100*second, "%-of-a-core")
		})
	}
}
