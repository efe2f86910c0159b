package live

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// A browser has one page. The test fails if the page reports an error.
type browser struct {
	t   *testing.T
	ctx context.Context
}

// browse opens the page at url in Chromium. If the environment variable MILLRACE_BROKERS is "all",
// as in the gate on Debian, a missing Chromium is a failure.
func browse(t *testing.T, url string, width, height int) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil && os.Getenv("MILLRACE_BROKERS") == "all" {
		t.Fatal("chromium is not installed")
	}
	if err != nil {
		t.Skip("chromium is not installed")
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(path), chromedp.NoSandbox,
		chromedp.WindowSize(width, height))
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	ctx, quit := chromedp.NewExecAllocator(ctx, options...)
	ctx, leave := chromedp.NewContext(ctx)
	b := &browser{t, ctx}
	console := chromedp.Console(ctx)
	var reading sync.WaitGroup
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // waits for the end of the process
		leave()
		quit()
		cancel()
		reading.Wait()
	})
	b.run(chromedp.EmulateViewport(int64(width), int64(height)))
	reading.Go(func() {
		for m, err := range console {
			if err == nil {
				t.Errorf("the page reports %v", m)
			}
		}
	})
	b.run(chromedp.Navigate(url))
	return b
}

func (b *browser) run(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// until waits until a JavaScript expression is true.
func (b *browser) until(expression string) {
	b.t.Helper()
	b.untilWithin(30*time.Second, expression)
}

func (b *browser) untilWithin(patience time.Duration, expression string) {
	b.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(patience)
	for b.text("Boolean("+expression+")") != "true" {
		select {
		case <-tick.C:
		case <-limit:
			b.t.Fatalf("%s is not true:\n%s", expression, b.text("document.body.innerText"))
		}
	}
}

// text returns the value of an expression as a string.
func (b *browser) text(expression string) string {
	b.t.Helper()
	s, err := chromedp.Run(b.ctx, chromedp.Evaluate[string]("String("+expression+")"))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return s
}

// clickRow chooses a client by the number of its row.
func clickRow(n int) chromedp.Action[chromedp.Void] {
	return chromedp.Click(chromedp.CSS(fmt.Sprintf("#clients tbody tr:nth-child(%d)", n)))
}

// shoot writes a picture of the visible page.
func (b *browser) shoot(file string) {
	b.t.Helper()
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(file, png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

func serve(t *testing.T, p *Page) string {
	mux := http.NewServeMux()
	mux.Handle("/debug/mqtt", p)
	s := httptest.NewServer(mux)
	t.Cleanup(func() {
		p.Close()
		s.Close()
	})
	return s.URL + "/debug/mqtt"
}

const hostile = `in/<img src=x onerror="document.title='broken'"><script>document.title='broken'</script>`

// watched is a client with traffic, whose page a browser shows.
type watched struct {
	*browser
	page   *Page
	broker *streamtest.Broker
	asleep chan chan struct{} // puts the consumer to sleep, until the channel is closed
	lines  chan net.Conn      // the connections of the client
}

func watchInBrowser(t *testing.T, p *Page) *watched {
	w := &watched{page: p, broker: streamtest.New(t), asleep: make(chan chan struct{}), lines: make(chan net.Conn, 10)}
	w.broker.Respond(&streamtest.Responder{Loopback: true})
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := w.broker.Dial(ctx, network, addr)
		if err == nil {
			w.lines <- conn
		}
		return conn, err
	}
	c := open(t, w.broker, mqtt.Options{Observer: p.Observer("miller"), Window: 10, DialContext: dial})
	p.Add("miller", c)
	sub, err := c.Subscribe(t.Context(), mqtt.Filter{Topic: "in/#", QoS: mqtt.AtLeastOnce})
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { pace(t.Context(), c, mqtt.AtLeastOnce, 100, func(int) string { return hostile }) })
	running.Go(func() {
		for d := range sub.Deliveries() {
			select {
			case end := <-w.asleep:
				select {
				case <-end:
				case <-t.Context().Done():
				}
			default:
			}
			d.Ack()
		}
	})
	t.Cleanup(func() {
		c.Close()
		running.Wait()
	})
	w.browser = browse(t, serve(t, p), 1280, 1000)
	return w
}

func TestChartsMoveInABrowserAndMarkupInATopicIsText(t *testing.T) {
	w := watchInBrowser(t, &Page{Title: "Mill"})
	w.until(`document.title === 'Mill' && document.querySelectorAll('canvas').length === 4`)
	w.until(`document.querySelector('#state').textContent.startsWith('online') && !document.querySelector('#alarms li')`)
	for chart := range 4 {
		image := fmt.Sprintf("document.querySelectorAll('canvas')[%d].toDataURL()", chart)
		w.until(image + ` !== '` + w.text(image) + `'`)
	}
	w.until(`/[1-9]/.test(document.querySelector('#tiles .value').textContent)`)
	w.until(`document.querySelector('#topics').textContent.includes('<script>document')`)
	if title := w.text(`document.title`); title != "Mill" || strings.Contains(w.text(`document.body.innerHTML`), "<img") {
		t.Errorf("a topic became markup; the title is %q", title)
	}
}

func TestABrowserShowsASleepingConsumerAndACutConnection(t *testing.T) {
	w := watchInBrowser(t, &Page{Slow: time.Second})
	w.until(`document.querySelector('#state').textContent.startsWith('online') && !document.querySelector('#alarms li')`)
	begin, wake := time.Now(), make(chan struct{})
	w.asleep <- wake
	w.until(`document.querySelector('#alarms li') && document.querySelector('#subs tr.bad') && document.querySelector('.tile.bad')`)
	if d := time.Since(begin); d < w.page.Slow {
		t.Errorf("a consumer that sleeps is red after %v, and the limit is %v", d, w.page.Slow)
	}
	close(wake)
	w.until(`!document.querySelector('#alarms li')`)

	w.broker.Refuse(3, nil)
	(<-w.lines).Close()
	w.until(`document.querySelector('#history').textContent.includes('lost') &&
		document.querySelector('#history').textContent.includes('failed')`)
}
