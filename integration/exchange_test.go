package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-millrace/mqtt"
)

// pluginTools returns the reason why no plugin of mosquitto can be compiled, nil if one can.
func pluginTools() error {
	cc, err := exec.LookPath("cc")
	if err != nil {
		return errors.New("there is no C compiler, cc")
	}
	probe := exec.Command(cc, "-fsyntax-only", "-x", "c", "-")
	probe.Stdin = strings.NewReader("#include <mosquitto_broker.h>\n#include <mosquitto_plugin.h>\n")
	if out, err := probe.CombinedOutput(); err != nil {
		return fmt.Errorf("the headers of plugins do not compile (Debian: mosquitto-dev): %w: %s", err, out)
	}
	return nil
}

// plugin compiles a plugin of mosquitto, and returns the path of the shared library.
func plugin(t *testing.T, source string) string {
	t.Helper()
	library := filepath.Join(t.TempDir(), "plugin.so")
	if out, err := exec.Command("cc", "-std=gnu11", "-Wall", "-Wextra", "-fPIC", "-shared", "-o", library, source).CombinedOutput(); err != nil {
		t.Fatalf("cc: %v\n%s", err, out)
	}
	return library
}

// withExchange starts a mosquitto that authenticates with the plugin exchange. It returns nil if
// the plugin cannot be compiled.
func withExchange(t *testing.T) *broker {
	t.Parallel()
	if mosquittoPath() == "" {
		t.Log(notInstalled)
		return nil
	}
	if err := pluginTools(); err != nil {
		t.Logf("no enhanced authentication with mosquitto: %v", err)
		return nil
	}
	return startMosquitto(t, setup{plugin: plugin(t, "testdata/exchange.c")})
}

// A proof is the client's side of the plugin exchange. It demands the broker's proof.
type proof struct {
	secret, nonce string
	answers       *atomic.Int32
}

// proofs returns a function for Authenticate, and counts the challenges answered.
func proofs(secret string, answers *atomic.Int32) func(context.Context) (mqtt.Exchange, error) {
	return func(context.Context) (mqtt.Exchange, error) {
		return &proof{secret, fmt.Sprintf("nonce %x", rand.Uint64()), answers}, nil
	}
}

func (*proof) Method() string           { return "exchange" }
func (p *proof) First() ([]byte, error) { return []byte(p.nonce), nil }

func (p *proof) Answer(_ context.Context, challenge []byte) ([]byte, error) {
	p.answers.Add(1)
	return append([]byte(p.secret+" "), challenge...), nil
}

func (p *proof) Done(data []byte) error {
	if want := p.secret + " " + p.nonce; !bytes.Equal(data, []byte(want)) {
		return fmt.Errorf("the broker proves itself with %q", data)
	}
	return nil
}

// V82: a client under load, which receives its own publications at every QoS, authenticates anew
// many times on one connection.
func TestReauthenticationUnderLoadKeepsTheConnection(t *testing.T) {
	b := withExchange(t)
	if b == nil {
		return
	}
	const rounds = 20
	var answers atomic.Int32
	c := dial(t, b.url, mqtt.Options{ClientID: "loaded", Window: 50,
		V5: mqtt.OptionsV5{Authenticate: proofs("grain", &answers)}})
	sub := subscribe(t, c, mqtt.Filter{Topic: "load/#", QoS: mqtt.ExactlyOnce})

	ctx, stop := context.WithCancel(within(t))
	defer stop()
	var publishing, consuming sync.WaitGroup
	var sent, received [3]atomic.Int64
	for range 4 {
		publishing.Go(func() {
			for q := 0; ctx.Err() == nil; q = (q + 1) % 3 {
				if err := c.Publish(t.Context(), mqtt.Message{Topic: "load/x", QoS: mqtt.QoS(q)}); err != nil {
					t.Error(err)
					return
				}
				sent[q].Add(1)
			}
		})
	}
	arrived := make(chan struct{}, 1)
	consuming.Go(func() {
		for d := range sub.Deliveries() {
			received[d.QoS].Add(1)
			d.Ack()
			select {
			case arrived <- struct{}{}:
			default:
			}
		}
	})
	for i := range rounds {
		if err := c.Reauthenticate(within(t)); err != nil {
			t.Errorf("re-authentication %d: %v", i+1, err)
			break
		}
		extra := subscribe(t, c, mqtt.Filter{Topic: "extra"}) // requests go on too
		if err := extra.Unsubscribe(within(t)); err != nil {
			t.Error(err)
		}
	}
	stop()
	publishing.Wait()
	complete := func(struct{}) bool {
		return received[1].Load() == sent[1].Load() && received[2].Load() == sent[2].Load()
	}
	if !complete(struct{}{}) {
		until(t, arrived, complete)
	}
	if st := c.Stats(); st.Connections != 1 {
		t.Errorf("%d connections", st.Connections)
	}
	if err := c.Shutdown(within(t)); err != nil {
		t.Error(err)
	}
	consuming.Wait()
	for q := range sent {
		if n := sent[q].Load(); n == 0 || q > 0 && received[q].Load() != n {
			t.Errorf("QoS %d: %d sent, %d received", q, n, received[q].Load())
		}
	}
	if n := answers.Load(); n != 2*(rounds+1) {
		t.Errorf("%d challenges were answered", n)
	}
	t.Logf("%d messages between %d re-authentications", sent[0].Load()+sent[1].Load()+sent[2].Load(), rounds)
}

// V81: mosquitto refuses a wrong answer, at a connection and at a re-authentication.
func TestMosquittoRefusesAWrongAnswer(t *testing.T) {
	b := withExchange(t)
	if b == nil {
		return
	}
	var answers atomic.Int32
	_, err := mqtt.Dial(within(t), b.url, withLog(t, mqtt.Options{ClientID: "thief", V5: mqtt.OptionsV5{Authenticate: proofs("chaff", &answers)}}))
	if !refusedAs(err) {
		t.Errorf("got %v, want a rejection", err)
	}

	first, turned := proofs("grain", &answers), atomic.Bool{}
	c := dial(t, b.url, mqtt.Options{ClientID: "turned", Reconnect: soon(), V5: mqtt.OptionsV5{
		Authenticate: func(ctx context.Context) (mqtt.Exchange, error) {
			if turned.Swap(true) {
				return proofs("chaff", &answers)(ctx)
			}
			return first(ctx)
		}}})
	if err := c.Reauthenticate(within(t)); err == nil {
		t.Error("mosquitto accepts a wrong answer")
	}
	until(t, c.States(within(t)), func(s mqtt.State) bool { return !s.Online })
}
