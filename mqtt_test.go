package mqtt_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The examples run against a broker in this process, which sends every message to its subscribers.
// A program uses the URL of its own broker, and nil or &mqtt.Options{}.
const brokerURL = "mqtt://localhost:1883"

var options = &mqtt.Options{DialContext: dialBroker}

var broker = streamtest.Responder{Loopback: true}

func dialBroker(context.Context, string, string) (net.Conn, error) {
	client, server := streamtest.Pipe(-1)
	go broker.Serve(server)
	return client, nil
}

func ExampleDial() {
	ctx := context.Background()
	client, err := mqtt.Dial(ctx, brokerURL, options)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	err = client.Publish(ctx, mqtt.Message{
		Topic:   "plant/3/temperature",
		Payload: []byte("21.5"),
		QoS:     mqtt.AtLeastOnce,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("the broker has it")

	// Output: the broker has it
}

// The simplest way to receive is a loop over Subscription.All. It acks a message when it asks for
// the next one.
func ExampleClient_Subscribe() {
	ctx := context.Background()
	client, err := mqtt.Dial(ctx, brokerURL, options)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	sub, err := client.Subscribe(ctx, mqtt.Filter{Topic: "plant/+/temperature", QoS: mqtt.AtLeastOnce})
	if err != nil {
		fmt.Println(err)
		return
	}
	go func() {
		for i, payload := range []string{"21.5", "19.0", "22.1"} {
			client.Publish(ctx, mqtt.Message{
				Topic:   fmt.Sprintf("plant/%d/temperature", i+1),
				Payload: []byte(payload),
				QoS:     mqtt.AtLeastOnce,
			})
		}
	}()

	n := 0
	for d, err := range sub.All(ctx) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s: %s\n", d.Topic, d.Payload)
		if n++; n == 3 {
			d.Ack() // leaving the loop does not ack
			break
		}
	}

	// Output:
	// plant/1/temperature: 21.5
	// plant/2/temperature: 19.0
	// plant/3/temperature: 22.1
}

// A client reports everything on channels, so a program can be a single select loop. This loop
// receives questions, publishes answers, and gets the Receipts of the answers.
func ExampleClient_Publishes() {
	ctx := context.Background()
	client, err := mqtt.Dial(ctx, brokerURL, options)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	sub, err := client.Subscribe(ctx, mqtt.Filter{Topic: "question", QoS: mqtt.AtLeastOnce})
	if err != nil {
		fmt.Println(err)
		return
	}

	var (
		deliveries = sub.Deliveries()
		receipts   = make(chan mqtt.Receipt, 16)
		publishes  chan<- mqtt.Publishing // nil while there is nothing to publish
		next       = mqtt.Publishing{Message: mqtt.Message{Topic: "question", Payload: []byte("6 x 7"), QoS: mqtt.AtLeastOnce}}
	)
	for publishes = client.Publishes(); ; {
		select {
		case publishes <- next: // next is accepted and gets one Receipt
			publishes = nil
		case d, ok := <-deliveries:
			if !ok {
				fmt.Println(sub.Err())
				return
			}
			fmt.Printf("asked for %s\n", d.Payload)
			next = mqtt.Publishing{
				Message: mqtt.Message{Topic: "answer", Payload: []byte("42"), QoS: mqtt.ExactlyOnce},
				Tag:     d,
				Ack:     receipts,
			}
			publishes = client.Publishes()
		case r := <-receipts:
			if r.Err != nil {
				fmt.Println(r.Err)
				return
			}
			r.Tag.(mqtt.Delivery).Ack() // from now on the broker may forget the question
			fmt.Printf("answered %s\n", r.Payload)
			return
		case <-client.Done():
			fmt.Println(client.Err())
			return
		}
	}

	// Output:
	// asked for 6 x 7
	// answered 42
}

// PublishFrom is a stage of a pipeline. Messages go in, and Receipts come out in the same order.
func ExampleClient_PublishFrom() {
	ctx := context.Background()
	client, err := mqtt.Dial(ctx, brokerURL, options)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	readings := make(chan mqtt.Message)
	go func() {
		defer close(readings)
		for i := range 3 {
			readings <- mqtt.Message{Topic: "reading", Payload: fmt.Append(nil, i), QoS: mqtt.QoS(i)}
		}
	}()
	for r := range client.PublishFrom(ctx, readings) {
		fmt.Printf("%s at QoS %d: %v\n", r.Payload, r.QoS, r.Err)
	}

	// Output:
	// 0 at QoS 0: <nil>
	// 1 at QoS 1: <nil>
	// 2 at QoS 2: <nil>
}

// PublishBatches takes slices of messages and returns the Receipts of each slice together.
func ExampleClient_PublishBatches() {
	ctx := context.Background()
	client, err := mqtt.Dial(ctx, brokerURL, options)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	batches := make(chan []mqtt.Message)
	go func() {
		defer close(batches)
		for i := range 2 {
			batches <- []mqtt.Message{
				{Topic: "power", Payload: fmt.Append(nil, 100+i), QoS: mqtt.AtLeastOnce},
				{Topic: "voltage", Payload: fmt.Append(nil, 230+i), QoS: mqtt.AtLeastOnce},
			}
		}
	}()
	for receipts := range client.PublishBatches(ctx, batches) {
		for _, r := range receipts.All() {
			fmt.Printf("%s %s: %v\n", r.Topic, r.Payload, r.Err)
		}
	}

	// Output:
	// power 100: <nil>
	// voltage 230: <nil>
	// power 101: <nil>
	// voltage 231: <nil>
}

// A slow consumer gets the present value of each topic, and may miss values before it.
func ExampleSubscription_Latest() {
	ctx := context.Background()
	client, err := mqtt.Dial(ctx, brokerURL, options)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	sub, err := client.Subscribe(ctx, mqtt.Filter{Topic: "tank/+", QoS: mqtt.AtLeastOnce})
	if err != nil {
		fmt.Println(err)
		return
	}
	levels := sub.Latest(mqtt.LatestOptions{PerTopic: true})

	for level := range 10 {
		for _, topic := range []string{"tank/north", "tank/south"} {
			m := mqtt.Message{Topic: topic, Payload: fmt.Append(nil, level), QoS: mqtt.AtLeastOnce}
			if err := client.Publish(ctx, m); err != nil {
				fmt.Println(err)
				return
			}
		}
	}
	panel := make(map[string]string)
	for panel["tank/north"] != "9" || panel["tank/south"] != "9" {
		m := <-levels
		panel[m.Topic] = string(m.Payload)
	}
	fmt.Println(panel)

	// Output: map[tank/north:9 tank/south:9]
}

type reading struct {
	Sensor string
	Value  float64
}

// The channels in both directions carry values of a Go type.
func ExampleDecode() {
	ctx := context.Background()
	client, err := mqtt.Dial(ctx, brokerURL, options)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	sub, err := client.Subscribe(ctx, mqtt.Filter{Topic: "readings", QoS: mqtt.AtLeastOnce})
	if err != nil {
		fmt.Println(err)
		return
	}
	events := mqtt.Decode(sub, mqtt.JSON[reading])

	out := make(chan reading, 2)
	out <- reading{"inlet", 21.5}
	out <- reading{"outlet", 19}
	close(out)
	for r := range mqtt.PublishFrom(ctx, client, mqtt.JSONTo[reading]("readings", mqtt.AtLeastOnce), out) {
		if r.Err != nil {
			fmt.Println(r.Err)
			return
		}
	}
	if err := client.Publish(ctx, mqtt.Message{Topic: "readings", Payload: []byte("soup"), QoS: mqtt.AtLeastOnce}); err != nil {
		fmt.Println(err)
		return
	}
	for range 3 {
		e := <-events
		if e.Ack(); e.Err != nil {
			fmt.Printf("%s is no reading\n", e.Payload)
			continue
		}
		fmt.Printf("%s: %.1f\n", e.Value.Sensor, e.Value.Value)
	}

	// Output:
	// inlet: 21.5
	// outlet: 19.0
	// soup is no reading
}

// A function that takes a Publisher can publish but not receive.
func ExamplePublisher() {
	report := func(ctx context.Context, p mqtt.Publisher) error {
		return p.Publish(ctx, mqtt.Message{Topic: "report", Payload: []byte("all well")})
	}

	ctx := context.Background()
	client, err := mqtt.Dial(ctx, brokerURL, options)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(report(ctx, client))
	client.Close()
	err = report(ctx, client)
	fmt.Println(errors.Is(err, mqtt.ErrNotSent), errors.Is(err, mqtt.ErrClosed), errors.Is(err, net.ErrClosed))

	// Output:
	// <nil>
	// true true true
}

// With a Store, a session outlives its Client. The first client accepts a message while there is no
// broker, and the second client publishes it.
func ExampleNewMemoryStore() {
	nobody := func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no broker") }
	receipts := make(chan mqtt.Receipt, 1)
	o := mqtt.Options{
		DialContext: nobody,
		ClientID:    "gauge",
		KeepSession: true,
		Store:       mqtt.NewMemoryStore(),
		Ack:         receipts,
	}
	client, err := mqtt.Open(brokerURL, &o)
	if err != nil {
		fmt.Println(err)
		return
	}
	client.Publishes() <- mqtt.Publishing{Message: mqtt.Message{Topic: "level", Payload: []byte("4.2"), QoS: mqtt.AtLeastOnce}}
	client.Close()
	r := <-receipts
	fmt.Printf("%s kept: %v\n", r.Payload, errors.Is(r.Err, mqtt.ErrKept))

	o.DialContext = dialBroker
	client, err = mqtt.Open(brokerURL, &o)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	r = <-receipts
	fmt.Printf("%s: %v\n", r.Payload, r.Err)

	// Output:
	// 4.2 kept: true
	// 4.2: <nil>
}

// A client that is offline for long keeps the newest messages, within the limits of its queue.
func ExampleOptions_full() {
	receipts := make(chan mqtt.Receipt, 3)
	client, err := mqtt.Open(brokerURL, &mqtt.Options{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no broker") },
		Queue:       2,
		QueueBytes:  64 << 10,
		Full:        mqtt.EvictOldest,
		Ack:         receipts,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, level := range []string{"4.2", "4.3", "4.4"} {
		client.Publishes() <- mqtt.Publishing{Message: mqtt.Message{Topic: "level", Payload: []byte(level), QoS: mqtt.AtLeastOnce}}
	}
	r := <-receipts
	fmt.Printf("%s evicted: %v\n", r.Payload, errors.Is(r.Err, mqtt.ErrEvicted))
	fmt.Println("queued:", client.Stats().Queued)
	client.Close()

	// Output:
	// 4.2 evicted: true
	// queued: 2
}

func ExampleMatch() {
	fmt.Println(mqtt.Match("plant/+/temperature", "plant/3/temperature"))
	fmt.Println(mqtt.Match("plant/#", "plant"))
	fmt.Println(mqtt.Match("#", "$SYS/uptime"))
	fmt.Println(mqtt.Match("$share/workers/jobs/+", "jobs/1"))

	// Output:
	// true
	// true
	// false
	// true
}

// inBubble runs script in a synctest bubble, with a client and a scripted broker.
func inBubble(t *testing.T, script func(t *testing.T, client *mqtt.Client, b *streamtest.Broker)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := streamtest.New(t)
		client, err := mqtt.Open(brokerURL, &mqtt.Options{DialContext: b.Dial})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		script(t, client, b)
	})
}

func TestEveryMethodOfTheFaceReachesItsSession(t *testing.T) {
	inBubble(t, func(t *testing.T, client *mqtt.Client, b *streamtest.Broker) {
		var (
			publisher  mqtt.Publisher  = client
			subscriber mqtt.Subscriber = client
		)
		b.Respond(&streamtest.Responder{Loopback: true})
		ctx := t.Context()
		states := client.States(ctx)
		<-client.Online()
		sub, err := subscriber.Subscribe(ctx, mqtt.Filter{Topic: "a", QoS: mqtt.ExactlyOnce})
		if err != nil {
			t.Fatal(err)
		}
		if granted := sub.Granted(); !slices.Equal(granted, []mqtt.QoS{mqtt.ExactlyOnce}) {
			t.Errorf("granted %v", granted)
		}
		m := mqtt.Message{Topic: "a", Payload: []byte("x"), QoS: mqtt.ExactlyOnce}
		if err := publisher.Publish(ctx, m); err != nil {
			t.Fatal(err)
		}
		in := make(chan mqtt.Message, 1)
		in <- m
		close(in)
		for r := range publisher.PublishFrom(ctx, in) {
			if r.Err != nil {
				t.Error(r.Err)
			}
		}
		receipts := make(chan mqtt.Receipt, 1)
		publisher.Publishes() <- mqtt.Publishing{Message: m, Tag: 7, Ack: receipts}
		if r := <-receipts; r.Err != nil || r.Tag != 7 {
			t.Errorf("receipt %+v", r)
		}
		if err := publisher.Flush(ctx); err != nil {
			t.Error(err)
		}
		for range 3 {
			if got := <-sub.Messages(); string(got.Payload) != "x" || got.QoS != mqtt.ExactlyOnce {
				t.Errorf("received %+v", got)
			}
		}
		synctest.Wait()
		if st := client.Stats(); !st.Online || st.Sent != 3 || st.Received != 3 {
			t.Errorf("%+v", st)
		}
		if st := <-states; !st.Online || st.Endpoint != brokerURL {
			t.Errorf("%+v", st)
		}
		if subscriber.Messages() != client.Messages() || subscriber.Deliveries() != client.Deliveries() {
			t.Error("Subscriber and Client return different channels")
		}
		if err := client.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		<-client.Done()
		if err := errors.Join(client.Err(), client.Close()); err != nil {
			t.Error(err)
		}
		for _, err := range client.All(ctx) {
			t.Error(err)
		}
	})
}

func TestOpenAndDialReturnTheirErrors(t *testing.T) {
	var bad *mqtt.OptionError
	if client, err := mqtt.Open("http://broker", nil); client != nil || !errors.As(err, &bad) || bad.Field != "URL" {
		t.Errorf("Open: %v, %v", client, err)
	}
	if client, err := mqtt.Dial(t.Context(), "mqtt://broker", &mqtt.Options{Window: 65_536}); client != nil || !errors.As(err, &bad) || bad.Field != "Window" {
		t.Errorf("Dial: %v, %v", client, err)
	}
	refused := errors.New("no route")
	o := &mqtt.Options{DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, refused }}
	if client, err := mqtt.Dial(t.Context(), "mqtt://broker", o); client != nil || !errors.Is(err, refused) {
		t.Errorf("Dial: %v, %v", client, err)
	}
}

func TestRefusedConnectionTellsItsCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := streamtest.New(t)
		failed := make(chan error, 1)
		go func() {
			_, err := mqtt.Dial(t.Context(), brokerURL, &mqtt.Options{DialContext: b.Dial})
			failed <- err
		}()
		c := b.Accept()
		c.ExpectConnect()
		c.Connack(false, mqtt.NotAuthorized)
		err := <-failed
		var refused *mqtt.ConnectError
		if !errors.Is(err, mqtt.NotAuthorized) || !errors.As(err, &refused) {
			t.Fatalf("error is %v", err)
		}
	})
}

func TestJSONDecodesAPayload(t *testing.T) {
	v, err := mqtt.JSON[reading](mqtt.Message{Payload: []byte(`{"Sensor":"inlet","Value":21.5}`)})
	if err != nil || v != (reading{"inlet", 21.5}) {
		t.Errorf("decoded %+v, %v", v, err)
	}
	var syntax *json.SyntaxError
	if _, err := mqtt.JSON[reading](mqtt.Message{Payload: []byte("soup")}); !errors.As(err, &syntax) {
		t.Errorf("error is %v", err)
	}
	if _, err := mqtt.JSON[reading](mqtt.Message{}); err == nil {
		t.Error("an empty payload was decoded")
	}
	if v, err := mqtt.JSON[[]int](mqtt.Message{Payload: []byte("[1,2]")}); err != nil || !slices.Equal(v, []int{1, 2}) {
		t.Errorf("decoded %v, %v", v, err)
	}
}

func TestJSONToEncodesForItsTopic(t *testing.T) {
	m, err := mqtt.JSONTo[reading]("readings", mqtt.ExactlyOnce)(reading{"inlet", 21.5})
	if err != nil || m.Topic != "readings" || m.QoS != mqtt.ExactlyOnce || m.Retain || string(m.Payload) != `{"Sensor":"inlet","Value":21.5}` {
		t.Errorf("encoded %+v, %v", m, err)
	}
	var unsupported *json.UnsupportedTypeError
	if _, err := mqtt.JSONTo[chan int]("readings", 0)(nil); !errors.As(err, &unsupported) {
		t.Errorf("error is %v", err)
	}
}

// A value that JSON cannot encode comes back in a Receipt, in the order of the input.
func TestPublishFromReturnsUnencodableValues(t *testing.T) {
	inBubble(t, func(t *testing.T, client *mqtt.Client, b *streamtest.Broker) {
		b.Respond(&streamtest.Responder{})
		in := make(chan any, 3)
		in <- "good"
		in <- strings.NewReplacer // a function
		in <- 3
		close(in)
		var got []string
		for r := range mqtt.PublishFrom(t.Context(), client, mqtt.JSONTo[any]("a", mqtt.AtLeastOnce), in) {
			got = append(got, fmt.Sprintf("%s %v", r.Payload, errors.Is(r.Err, mqtt.ErrNotSent)))
		}
		if want := []string{`"good" false`, " true", "3 false"}; !slices.Equal(got, want) {
			t.Fatalf("receipts %q, want %q", got, want)
		}
	})
}

func TestMatchFollowsTheStandard(t *testing.T) {
	for _, c := range []struct {
		filter, topic string
		want          bool
	}{
		{"a/b", "a/b", true},
		{"a/+", "a/b", true},
		{"a/+", "a", false},
		{"a/#", "a", true},
		{"+", "$SYS", false},
		{"$SYS/#", "$SYS/a", true},
		{"+/+", "/a", true},
		{"$share/g/#", "a/b", true},
	} {
		if got := mqtt.Match(c.filter, c.topic); got != c.want {
			t.Errorf("Match(%q, %q) is %v", c.filter, c.topic, got)
		}
	}
}

func TestErrorsCompareAsDocumented(t *testing.T) {
	if !errors.Is(mqtt.ErrClosed, net.ErrClosed) || errors.Is(mqtt.ErrNotSent, mqtt.ErrUnconfirmed) {
		t.Fatal("the errors do not compare as the package comment says")
	}
}

func TestEveryMethodOfASubscriptionReachesIt(t *testing.T) {
	inBubble(t, func(t *testing.T, client *mqtt.Client, b *streamtest.Broker) {
		b.Respond(&streamtest.Responder{Loopback: true})
		ctx := t.Context()
		declared, err := client.Declare(mqtt.Filter{Topic: "a", QoS: mqtt.AtLeastOnce})
		if err != nil {
			t.Fatal(err)
		}
		other, err := client.Subscribe(ctx, mqtt.Filter{Topic: "b", QoS: mqtt.AtLeastOnce})
		if err != nil {
			t.Fatal(err)
		}
		<-declared.Ready()
		if refused := declared.Refused(); len(refused) > 0 {
			t.Errorf("refused %v", refused)
		}
		if err := errors.Join(client.AwaitOnline(ctx), client.Publish(ctx, mqtt.Message{Topic: "a", QoS: mqtt.AtLeastOnce})); err != nil {
			t.Fatal(err)
		}
		for d, err := range declared.All(ctx) {
			if err != nil || d.Topic != "a" || d.ID == 0 {
				t.Errorf("received %+v, %v", d, err)
			}
			d.Ack()
			break
		}
		if err := errors.Join(declared.Drain(ctx), declared.Err(), other.Unsubscribe(ctx), other.Err()); err != nil {
			t.Error(err)
		}
		if d, ok := <-other.Deliveries(); ok {
			t.Errorf("received %+v after Unsubscribe", d)
		}
		if client.Sync(ctx) == nil {
			t.Error("Sync has no error without KeepSession")
		}
		if st := client.State(); !st.Online || client.Stats().Subscribed != 0 {
			t.Errorf("%+v, %+v", st, client.Stats())
		}
	})
}
