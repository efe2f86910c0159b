// Package demo holds code that all examples need: the -broker flag, a broker in the process,
// signals and the exit code.
package demo

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

// Main is the main function of an example. It parses the flags, prints how to choose the broker and
// how to end the program, and calls run with the URL of the broker and a context that Ctrl-C and
// SIGTERM end. It exits with code 1 if run returns an error other than the error of the ended
// context.
//
// Without -broker, Main starts a broker in the process. This broker publishes the messages of feed,
// for examples that only subscribe.
func Main(run func(ctx context.Context, broker string) error, feed Feed) {
	url := flag.String("broker", "", "`URL` of the broker; without it a broker runs in this process")
	flag.Parse()
	if err := start(run, *url, feed); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", filepath.Base(os.Args[0]), err)
		os.Exit(1)
	}
}

func start(run func(context.Context, string) error, url string, feed Feed) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process
	if url != "" && feed.cuts() {
		return errors.New("-cut cuts the connections of the broker in this process, so it does not go with -broker")
	}
	if url == "" {
		b, err := StartBroker(feed)
		if err != nil {
			return err
		}
		defer b.Close()
		url = b.URL
		fmt.Printf("broker    %s, in this process; -broker URL uses another one\n", url)
	}
	fmt.Println("running   Ctrl-C ends it")
	err := run(ctx, url)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
