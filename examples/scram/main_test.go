package main

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xdg-go/scram"
	"go.uber.org/goleak"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server returns the broker's side of a conversation with a user whose password is secret.
func server(t *testing.T) *scram.ServerConversation {
	t.Helper()
	client, err := scram.SHA256.NewClient("ann", "secret", "")
	if err != nil {
		t.Fatal(err)
	}
	stored, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "salt", Iters: 4096})
	if err != nil {
		t.Fatal(err)
	}
	s, err := scram.SHA256.NewServer(func(string) (scram.StoredCredentials, error) { return stored, nil })
	if err != nil {
		t.Fatal(err)
	}
	return s.NewConversation()
}

func step(t *testing.T, conversation *scram.ServerConversation, data []byte) []byte {
	t.Helper()
	answer, err := conversation.Step(string(data))
	if err != nil {
		t.Fatal(err)
	}
	return []byte(answer)
}

func auth(code frames.ReasonCode, data []byte) frames.Auth {
	return frames.Auth{Code: code, Method: "SCRAM-SHA-256", Data: data}
}

// challenge takes the client's first data and returns the broker's last.
func challenge(t *testing.T, c *streamtest.Conn, first []byte) (last []byte) {
	t.Helper()
	s := server(t)
	c.Send(auth(frames.ContinueAuthentication, step(t, s, first)))
	answer := streamtest.Next[frames.Auth](c)
	if answer.Code != frames.ContinueAuthentication || strings.Contains(string(answer.Data), "secret") {
		t.Errorf("the client sent %v %q", answer.Code, answer.Data)
	}
	return step(t, s, answer.Data)
}

// open starts a client with a password.
func open(t *testing.T, b *streamtest.Broker, password string) *mqtt.Client {
	t.Helper()
	client, err := mqtt.Open("mqtt://broker", &mqtt.Options{DialContext: b.Dial, KeepAlive: -1,
		V5: mqtt.OptionsV5{Authenticate: Authenticate("ann", password, time.Hour)}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func TestClientAndBrokerProveThatTheyKnowThePassword(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := streamtest.New(t)
		client := open(t, b, "secret")
		c := b.Accept()
		last := challenge(t, c, c.ExpectConnect().Properties.AuthData)
		c.Send(frames.Connack{Properties: &frames.ConnackProperties{AuthMethod: "SCRAM-SHA-256", AuthData: last}})
		<-client.Online()

		began := time.Now()
		first := streamtest.Next[frames.Auth](c)
		if first.Code != frames.ReAuthenticate || time.Since(began) != 54*time.Minute {
			t.Errorf("after %v the client sent %v", time.Since(began), first.Code)
		}
		c.Send(auth(frames.Success, challenge(t, c, first.Data)))
		synctest.Wait()
		if st := client.Stats(); !st.Online || st.Connections != 1 {
			t.Errorf("online %v after %d connections", st.Online, st.Connections)
		}
	})
}

func TestABrokerThatDoesNotKnowThePasswordIsNotAccepted(t *testing.T) {
	for name, forge := range map[string]func([]byte) []byte{
		"another proof": func([]byte) []byte { return []byte("v=AAAA") },
		"no proof":      func([]byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := streamtest.New(t)
				client := open(t, b, "secret")
				c := b.Accept()
				last := forge(challenge(t, c, c.ExpectConnect().Properties.AuthData))
				c.Send(frames.Connack{Properties: &frames.ConnackProperties{AuthMethod: "SCRAM-SHA-256", AuthData: last}})
				c.ExpectClosed()
				if client.State().Online {
					t.Error("the client is online")
				}
			})
		})
	}
}

func TestAWrongPasswordIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := streamtest.New(t)
		open(t, b, "guess")
		c := b.Accept()
		s := server(t)
		c.Send(auth(frames.ContinueAuthentication, step(t, s, c.ExpectConnect().Properties.AuthData)))
		if _, err := s.Step(string(streamtest.Next[frames.Auth](c).Data)); err == nil || s.Valid() {
			t.Error("the broker accepts the proof")
		}
		c.Connack(false, frames.NotAuthorized)
		c.ExpectClosed()
	})
}
