package watermillmqtt_test

import (
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// restart makes the test binary the RestartServiceCommand of the suite: it asks the test that
// listens at the address to restart its broker, and waits until that has happened.
var restart = flag.String("restart", "", "`address` of the test that restarts its broker")

func TestMain(m *testing.M) {
	flag.Parse()
	if *restart != "" {
		if err := askForRestart(*restart); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	if mosquittoPath() == "" {
		fmt.Println("mosquitto is not installed: only mochi is tested")
	}
	goleak.VerifyTestMain(m,
		// The suite does not close the channel that this goroutine of TestReconnect receives from.
		goleak.IgnoreAnyFunction("github.com/ThreeDotsLabs/watermill/pubsub/tests.TestReconnect.func2"))
}

func askForRestart(addr string) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	answer, err := io.ReadAll(conn)
	if err == nil && len(answer) > 0 {
		err = fmt.Errorf("%s", answer)
	}
	return err
}

// restartCommand returns the command that restarts b until the end of the test. With -race there is
// none, which leaves TestReconnect out: it reads the list of published messages while its own
// goroutine may write it.
func restartCommand(t *testing.T, b *broker) []string {
	t.Helper()
	if raceEnabled {
		return nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if err := b.restart(); err != nil {
				fmt.Fprint(conn, err)
			}
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return []string{self, "-restart", l.Addr().String()}
}
