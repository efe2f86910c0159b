package integration

import (
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/go-millrace/mqtt"
)

const farAway = 40 * time.Millisecond

// BenchmarkWindow measures the price of a small Window: QoS 1 publications in a second over a
// network with a round trip of 40 ms. The README has the figures.
func BenchmarkWindow(b *testing.B) {
	addr := distant(b, nullBroker(b))
	for _, window := range []int{1, 20, 100} {
		b.Run(fmt.Sprintf("window=%d", window), func(b *testing.B) {
			client, err := mqtt.Dial(b.Context(), "mqtt://"+addr, &mqtt.Options{Window: window})
			if err != nil {
				b.Fatal(err)
			}
			defer client.Close()
			in := make(chan mqtt.Message, 1024)
			go func() {
				defer close(in)
				for range b.N {
					in <- mqtt.Message{Topic: "bench", Payload: benchPayload, QoS: mqtt.AtLeastOnce}
				}
			}()
			b.ResetTimer()
			for r := range client.PublishFrom(b.Context(), in) {
				if r.Err != nil {
					b.Error(r.Err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

// distant starts a proxy to a broker. It delays the bytes of each direction by half a round trip.
func distant(b *testing.B, broker string) (addr string) {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", broker)
			if err != nil {
				near.Close()
				continue
			}
			running.Go(func() { delayed(far, near) })
			running.Go(func() { delayed(near, far) })
		}
	})
	b.Cleanup(func() {
		l.Close()
		running.Wait()
	})
	return l.Addr().String()
}

// delayed copies from src to dst until the end of src, half a round trip late, and closes dst.
func delayed(dst io.WriteCloser, src io.Reader) {
	type chunk struct {
		bytes []byte
		due   time.Time
	}
	chunks := make(chan chunk, 1024)
	go func() {
		defer close(chunks)
		for {
			buf := make([]byte, 64<<10)
			n, err := src.Read(buf)
			if err != nil {
				return
			}
			chunks <- chunk{buf[:n], time.Now().Add(farAway / 2)}
		}
	}()
	for c := range chunks {
		time.Sleep(time.Until(c.due))
		_, _ = dst.Write(c.bytes) // an error ends src too
	}
	dst.Close()
}
