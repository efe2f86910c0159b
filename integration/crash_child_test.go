package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"

	"github.com/go-millrace/mqtt"
)

// A child is a process of this test binary that publishes or subscribes until it is killed. It
// reads this specification as JSON from the environment and commands from standard input. It
// reports to its parent in lines on standard output.
type child struct {
	Role    string // publisher or subscriber; also the client identifier
	URL     string
	Store   string // path of its store
	Kind    string // of its store, a key of stores
	Version mqtt.Version
	Run     int
	Stage   bool // whether the publisher uses PublishFrom
	Seed    uint64
	Packets bool
}

const (
	childVariable = "MILLRACE_CRASH_CHILD"
	crashTopic    = "crash/load"
	endTopic      = "crash/end" // topic of the last message
	perRun        = 1_000_000   // more than the publications of one run of the publisher
	finishCommand = "finish"
)

// crashMessage returns the publication with the number run*perRun+n. Its QoS depends on n.
func crashMessage(number int) mqtt.Message {
	return text(crashTopic, strconv.Itoa(number), qosOf(number))
}

// beChild is the main function of a child. In the parent it returns at once.
func beChild() {
	spec := os.Getenv(childVariable)
	if spec == "" {
		return
	}
	var c child
	err := json.Unmarshal([]byte(spec), &c)
	if err == nil {
		err = c.play()
	}
	if err != nil {
		say("failed %v", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// say writes one line without a buffer, so that the parent gets the line even if the child is
// killed next.
func say(format string, args ...any) {
	if _, err := fmt.Fprintf(os.Stdout, format+"\n", args...); err != nil {
		os.Exit(1) // the parent has exited
	}
}

func (c *child) play() error {
	if c.Role == nullRole {
		return c.serve()
	}
	store, err := stores[c.Kind](c.Store)
	if err != nil {
		return err
	}
	receipts := make(chan mqtt.Receipt, 1<<14)
	go func() {
		for r := range receipts {
			if r.Err != nil {
				say("failed %s: %v", r.Payload, r.Err)
			}
		}
	}()
	o := &mqtt.Options{Version: c.Version, ClientID: c.Role, KeepSession: true, Store: store,
		Window: 100, Ack: receipts, Reconnect: soon()}
	if c.Packets {
		o.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("who", c.Role, "run", c.Run)
	}
	client, err := mqtt.Open(c.URL, o)
	if err != nil {
		return err
	}
	finish := make(chan struct{})
	go func() {
		commands := bufio.NewScanner(os.Stdin)
		if commands.Scan() {
			close(finish)
			commands.Scan()
		}
		os.Exit(1) // the parent has exited
	}()
	random := rand.New(rand.NewPCG(c.Seed, uint64(c.Run)))
	ctx := context.Background()
	switch {
	case c.Role == "subscriber":
		err = c.subscribe(ctx, client, random, finish)
	case c.Stage:
		err = c.publishFrom(ctx, client, finish)
	default:
		err = c.publish(ctx, client, random, finish)
	}
	if err != nil {
		return err
	}
	if err := client.Flush(ctx); err != nil {
		return err
	}
	if err := client.Shutdown(ctx); err != nil {
		return err
	}
	if err := store.Close(); err != nil {
		return err
	}
	store, err = stores[c.Kind](c.Store)
	if err != nil {
		return err
	}
	snapshot, err := store.Attach(c.Role)
	if err != nil {
		return err
	}
	say("left %d %d", len(snapshot.Publications), len(snapshot.Received))
	return store.Close()
}

// publish publishes in bursts until the parent tells it to finish. When Sync returns, all
// publications before it count as accepted.
func (c *child) publish(ctx context.Context, client *mqtt.Client, random *rand.Rand, finish <-chan struct{}) error {
	for n := 0; ; {
		select {
		case <-finish:
			return nil
		default:
		}
		for range 1 + random.IntN(60) {
			select {
			case client.Publishes() <- mqtt.Publishing{Message: crashMessage(c.Run*perRun + n)}:
				n++
			case <-client.Done():
				return client.Err()
			}
		}
		if err := client.Sync(ctx); err != nil {
			return err
		}
		say("accepted %d", n)
	}
}

// publishFrom does the same with PublishFrom. A publication counts as accepted when its Receipt
// arrives.
func (c *child) publishFrom(ctx context.Context, client *mqtt.Client, finish <-chan struct{}) error {
	in := make(chan mqtt.Message)
	go func() {
		defer close(in)
		for n := 0; ; n++ {
			select {
			case in <- crashMessage(c.Run*perRun + n):
			case <-finish:
				return
			}
		}
	}()
	n := 0
	for r := range client.PublishFrom(ctx, in) {
		if r.Err != nil || string(r.Payload) != strconv.Itoa(c.Run*perRun+n) {
			return fmt.Errorf("receipt %d is for %s: %w", n, r.Payload, r.Err)
		}
		if n++; n%30 == 0 {
			say("accepted %d", n)
		}
	}
	say("accepted %d", n)
	return client.Err()
}

// subscribe receives several deliveries at a time and acknowledges them in another order. A QoS 2
// delivery that was acknowledged before a Sync must not come again after this Sync has returned.
func (c *child) subscribe(ctx context.Context, client *mqtt.Client, random *rand.Rand, finish <-chan struct{}) error {
	sub, err := client.Subscribe(ctx, mqtt.Filter{Topic: "crash/#", QoS: mqtt.ExactlyOnce})
	if err != nil {
		return err
	}
	say("subscribed")
	taken := 0
	for {
		var hand []mqtt.Delivery
		for size := 1 + random.IntN(20); len(hand) < size; {
			var d mqtt.Delivery
			var ok bool
			select {
			case d, ok = <-sub.Deliveries():
			default:
				if len(hand) > 0 { // no further delivery is waiting
					size = len(hand)
					continue
				}
				select {
				case d, ok = <-sub.Deliveries():
				case <-finish:
					go func() { // acknowledges redeliveries, because Shutdown waits for their acks
						for d := range sub.Deliveries() {
							say("got %s %s %d", d.Topic, d.Payload, d.QoS)
							d.Ack()
						}
					}()
					return nil
				}
			}
			if !ok {
				return client.Err()
			}
			say("got %s %s %d", d.Topic, d.Payload, d.QoS)
			hand = append(hand, d)
		}
		random.Shuffle(len(hand), func(i, k int) { hand[i], hand[k] = hand[k], hand[i] })
		for _, d := range hand {
			d.Ack()
		}
		taken += len(hand)
		if random.IntN(3) == 0 {
			if err := client.Sync(ctx); err != nil {
				return err
			}
			say("settled %d", taken)
		}
	}
}
