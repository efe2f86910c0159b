package main

import (
	"context"
	"errors"
	"time"

	"github.com/xdg-go/scram"

	"github.com/go-millrace/mqtt"
)

// Authenticate returns a function for OptionsV5.Authenticate that uses SCRAM-SHA-256. Each exchange
// holds for a lifetime; the client begins the next one before its end.
func Authenticate(user, password string, lifetime time.Duration) func(context.Context) (mqtt.Exchange, error) {
	return func(context.Context) (mqtt.Exchange, error) {
		client, err := scram.SHA256.NewClient(user, password, "")
		if err != nil {
			return nil, err
		}
		return &exchange{client.NewConversation(), time.Now().Add(lifetime)}, nil
	}
}

// An exchange is one conversation. The client never uses it twice.
type exchange struct {
	conversation *scram.ClientConversation
	expires      time.Time
}

func (*exchange) Method() string       { return "SCRAM-SHA-256" }
func (x *exchange) Expires() time.Time { return x.expires }

func (x *exchange) First() ([]byte, error) { return x.step(nil) }

func (x *exchange) Answer(_ context.Context, challenge []byte) ([]byte, error) {
	return x.step(challenge)
}

func (x *exchange) step(challenge []byte) ([]byte, error) {
	answer, err := x.conversation.Step(string(challenge))
	return []byte(answer), err
}

// Done checks that the broker knows the password.
func (x *exchange) Done(data []byte) error {
	if _, err := x.conversation.Step(string(data)); err != nil {
		return err
	}
	if !x.conversation.Valid() {
		return errors.New("the broker has not proved that it knows the password")
	}
	return nil
}
