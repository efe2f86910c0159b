package main

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-millrace/mqtt/examples/internal/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m, main) }

func TestThePageShowsTheClientUntilCtrlC(t *testing.T) {
	p := exampletest.Start(t, "-listen", "127.0.0.1:0", "-every", "1ms")
	url := p.Find(`^serving   (http://.*/metrics)$`)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	want := []string{`millrace_online{client="demo"} 1`, `millrace_ack_duration_seconds_bucket{client="demo",le=`, "go_goroutines "}
	var page string
	for end := time.Now().Add(30 * time.Second); len(want) > 0; {
		response, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		page = string(body)
		for len(want) > 0 && strings.Contains(page, "\n"+want[0]) {
			want = want[1:]
		}
		if time.Now().After(end) {
			t.Fatalf("no line %s in\n%s", want[0], page)
		}
	}
	p.Interrupt()
}
