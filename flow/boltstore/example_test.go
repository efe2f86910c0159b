//go:build !wasm

package boltstore_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/flow/boltstore"
)

// The session of a client on disk. Sync returns when the publication is there.
func ExampleOpen() {
	folder, err := os.MkdirTemp("", "millrace") // a program uses a folder that stays
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(folder)
	store, err := boltstore.Open(filepath.Join(folder, "session.db"), nil)
	if err != nil {
		fmt.Println(err) // for example flow.ErrInUse or a *boltstore.DamageError
		return
	}
	defer store.Close() // after the client

	client, err := mqtt.Open("mqtt://localhost:1883", &mqtt.Options{
		ClientID:    "pump-1", // one store for each client identifier
		KeepSession: true,
		Store:       store,
		DialContext: func(context.Context, string, string) (net.Conn, error) { // here there is no broker
			return nil, errors.New("no broker")
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	client.Publishes() <- mqtt.Publishing{
		Message: mqtt.Message{Topic: "pump/1", Payload: []byte("on"), QoS: mqtt.AtLeastOnce},
	}
	fmt.Println("on disk:", client.Sync(context.Background()))

	// Output: on disk: <nil>
}
