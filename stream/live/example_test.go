package live_test

import (
	"context"
	"errors"
	"log"
	"net/http"
	"time"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/stream/live"
)

// A page for one client, in two lines. A server that is shut down also needs Page.Close: see the
// example of Page.
func Example() {
	client, err := mqtt.Open("mqtt://broker.example", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	http.Handle("/debug/mqtt", live.Handler(client))
	log.Print(http.ListenAndServe("localhost:8080", nil))
}

// A page with rates by topic and the history of connections, on a server that is shut down.
func ExamplePage() {
	page := &live.Page{Title: "Mill", Slow: 5 * time.Second}
	client, err := mqtt.Open("mqtt://broker.example", &mqtt.Options{Observer: page.Observer("boiler")})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	page.Add("boiler", client)

	mux := http.NewServeMux()
	mux.Handle("/debug/mqtt", page)
	server := &http.Server{Addr: "localhost:8080", Handler: mux}
	server.RegisterOnShutdown(page.Close) // or Shutdown would wait for open pages
	go func() {
		<-client.Done()
		_ = server.Shutdown(context.Background())
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Print(err)
	}
}
