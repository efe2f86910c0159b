package main

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/go-millrace/mqtt/examples/internal/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

// The program ends while a viewer watches.
func TestThePageShowsTheClientsUntilCtrlC(t *testing.T) {
	p := exampletest.Start(t, "-http", "127.0.0.1:0", "-every", "1ms", "-sleep", "10ms")
	p.Expect(`^running   Ctrl-C ends it$`)
	url := p.Find(`^page      (http://127\.0\.0\.1:\d+/debug/mqtt)$`)
	p.Expect(`^asleep    for 10ms$`, `^awake$`)
	stream, err := http.Get(url + "?get=events")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	first := make([]byte, 200)
	if _, err := io.ReadFull(stream.Body, first); err != nil || !strings.HasPrefix(string(first), `data: {"at":`) ||
		!strings.Contains(string(first), `"name":"miller"`) {
		t.Errorf("the stream begins with %s, %v", first, err)
	}
	p.Interrupt()
	http.DefaultClient.CloseIdleConnections()
}
