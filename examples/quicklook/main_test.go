package main

import (
	"bufio"
	"context"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/go-millrace/mqtt/examples/internal/demo"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheReadingArrivesAndTheEndIsNoError(t *testing.T) {
	broker, err := demo.StartBroker(demo.Feed{})
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	ctx, interrupt := context.WithTimeout(t.Context(), 30*time.Second)
	defer interrupt()

	lines, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer lines.Close()
	stdout := os.Stdout
	os.Stdout = out
	defer func() { os.Stdout = stdout }()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, broker.URL)
		out.Close()
	}()

	line, err := bufio.NewReader(lines).ReadString('\n')
	if line != "plant/1/temp: 61\n" {
		t.Errorf("printed %q, %v", line, err)
	}
	interrupt()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestAMissingBrokerIsAnError(t *testing.T) {
	if err := run(t.Context(), "unix:///nowhere"); err == nil {
		t.Error("run returned no error without a broker")
	}
}
