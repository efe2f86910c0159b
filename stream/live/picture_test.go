package live

import (
	"context"
	"flag"
	"fmt"
	"net"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

var (
	picture = flag.String("picture", "", "write a picture of the page to this PNG `file`; it takes 40 s")
	crowd   = flag.String("crowd", "", "write a picture of a page with 50 clients and 1,000 topics to this PNG `file`")
)

// 50 clients and 1,000 topics stay readable: one row for each client, the busiest topics, and the
// details of the client that was chosen.
func TestACrowdOfClientsAndTopicsInABrowser(t *testing.T) {
	broker := streamtest.New(t)
	broker.Respond(&streamtest.Responder{})
	p := &Page{Slow: time.Hour}
	ctx, stop := context.WithCancel(t.Context())
	var publishing sync.WaitGroup
	defer publishing.Wait()
	defer stop()
	for i := 1; i <= 50; i++ {
		name := fmt.Sprintf("plant-%02d", i)
		c := open(t, broker, mqtt.Options{Observer: p.Observer(name), Window: 20})
		p.Add(name, c)
		if _, err := c.Declare(mqtt.Filter{Topic: "orders/" + name + "/#", QoS: mqtt.AtLeastOnce}); err != nil {
			t.Fatal(err)
		}
		publishing.Go(func() {
			pace(ctx, c, mqtt.QoS(i%3), 4*i, func(n int) string {
				if n%2 == 0 {
					n = n % 40 // the busy topics
				}
				return fmt.Sprintf("plant/%02d/line/%d/sensor/%03d", i, n%7, n%1000)
			})
		})
	}
	refuse := func(context.Context, string, string) (net.Conn, error) { return nil, syscall.ECONNREFUSED }
	c := open(t, broker, mqtt.Options{DialContext: refuse})
	p.Add("plant-51", c)
	b := browse(t, serve(t, p), 1280, 1400)
	b.until(`document.querySelectorAll('#clients tbody tr').length === 51`)
	b.run(clickRow(50))
	b.until(`document.querySelector('#name').textContent === 'plant-50' && document.querySelector('tr.chosen')`)
	b.until(`/others/.test(document.querySelector('#topics').textContent)`)
	if n, err := strconv.Atoi(b.text(`document.querySelectorAll('#topics tbody tr').length`)); n != 21 {
		t.Errorf("%d rows of topics, want 20 and the others: %v", n, err)
	}
	b.until(`document.querySelectorAll('#clients tr.bad').length === 1`) // the client that cannot connect
	if s := b.text(`document.documentElement.scrollWidth - innerWidth`); s != "0" {
		t.Errorf("the page is wider than the window by %s pixels", s)
	}
	if *crowd != "" {
		after := b.text(`Date.now() + 20000`)
		b.until(`Date.now() > ` + after)
		b.shoot(*crowd)
	}
}

// sleepy acknowledges messages. It sleeps for 3 s after 12 s, and for a minute after 27 s.
func sleepy(ctx context.Context, sub *mqtt.Subscription) {
	naps := []struct{ after, length time.Duration }{{12 * time.Second, 3 * time.Second}, {27 * time.Second, time.Minute}}
	began := time.Now()
	for range sub.All(ctx) {
		if len(naps) == 0 || time.Since(began) < naps[0].after {
			continue
		}
		select {
		case <-time.After(naps[0].length):
		case <-ctx.Done():
		}
		naps = naps[1:]
	}
}

// The picture of the README: a client whose consumer sleeps, among others.
func TestPicture(t *testing.T) {
	if *picture == "" {
		t.Skip("writes a picture with -picture FILE")
	}
	broker := streamtest.New(t)
	broker.Respond(&streamtest.Responder{Loopback: true, Window: 200})
	p := &Page{Slow: 5 * time.Second, Title: "Mill"}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	machines := []string{"sifter", "roller", "elevator", "scale", "silo"}
	client := func(name string) *mqtt.Client {
		c := open(t, broker, mqtt.Options{Observer: p.Observer(name), Window: 50, Version: mqtt.V5})
		p.Add(name, c)
		return c
	}
	orders, readings, archive := client("orders"), client("readings"), client("archive")
	sub, err := orders.Subscribe(ctx, mqtt.Filter{Topic: "mill/orders/#", QoS: mqtt.AtLeastOnce}, mqtt.Filter{Topic: "mill/stop", QoS: 1})
	if err != nil {
		t.Fatal(err)
	}
	all, err := archive.Subscribe(ctx, mqtt.Filter{Topic: "mill/#", QoS: mqtt.AtMostOnce})
	if err != nil {
		t.Fatal(err)
	}
	running.Go(func() {
		for range all.All(ctx) {
		}
	})
	running.Go(func() {
		pace(ctx, orders, mqtt.AtLeastOnce, 120, func(i int) string { return "mill/orders/" + machines[i*i%5] })
	})
	running.Go(func() {
		pace(ctx, readings, mqtt.AtMostOnce, 900, func(i int) string { return "mill/" + machines[i%5] + "/level" })
	})
	running.Go(func() { sleepy(ctx, sub) })
	b := browse(t, serve(t, p), 1280, 1010)
	b.until(`document.querySelectorAll('#clients tbody tr').length === 3`)
	after := b.text(`Date.now() + 35000`)
	b.untilWithin(time.Minute, `Date.now() > `+after)
	b.until(`document.querySelector('#alarms li')`)
	b.shoot(*picture)
}
