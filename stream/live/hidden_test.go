package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream/streamtest"
)

// Each error quotes the word hush, which may be a topic.
func TestErrorTextsOfOthersAreHiddenWithTopics(t *testing.T) {
	refused := &mqtt.ConnectError{Code: mqtt.NotAuthorized, Reason: "hush"}
	closed := &mqtt.DisconnectError{Code: mqtt.QuotaExceeded, Reason: "hush"}
	for _, test := range []struct {
		err  error
		want string
	}{
		{refused, "connection refused: not authorized"},
		{fmt.Errorf("hush: %w", refused), "connection refused: not authorized"},
		{closed, "the broker closed the connection: quota exceeded"},
		{&mqtt.HTTPError{Status: 403, Body: "hush"}, "WebSocket: the server answered 403 Forbidden"},
		{&mqtt.PoisonError{Topic: "hush", Closes: 3, Err: closed},
			"the broker closed 3 connections in a row at a PUBLISH; the broker closed the connection: quota exceeded"},
		{&mqtt.RefusalError{Code: mqtt.NotAuthorized, Reason: "hush"}, "not authorized"},
		{&mqtt.RefusedError{Filters: []mqtt.Filter{{Topic: "hush"}}, Codes: []mqtt.ReasonCode{mqtt.NotAuthorized}}, "not authorized"},
		{&mqtt.ProtocolError{Type: frames.TypeAuth, Reason: `has the authentication method "hush"`}, "protocol violation: protocol error"},
		{errors.New("the first packet is not CONNACK; it begins with hush"), "an error"},
		{errors.Join(errors.New("hush"), fmt.Errorf("hush: %w", io.ErrUnexpectedEOF)), "the connection was closed"},
		{fmt.Errorf("hush: %w", context.DeadlineExceeded), "timeout"},
		{&net.OpError{Op: "read hush", Err: os.ErrDeadlineExceeded}, "timeout"},
		{&net.OpError{Op: "dial hush", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, "connect: connection refused"},
		{&net.DNSError{Err: "hush", Name: "hush"}, "the look-up of the host name failed"},
	} {
		p := &Page{Topics: -1}
		if got, want := p.errorText(test.err), test.want+" (the text of the error is hidden)"; got != want {
			t.Errorf("%v: got %q, want %q", test.err, got, want)
		}
		if got := (&Page{}).errorText(test.err); got != test.err.Error() {
			t.Errorf("with topics: got %q, want %q", got, test.err)
		}
	}
	if got := (&Page{Topics: -1}).errorText(nil); got != "" {
		t.Errorf("no error: got %q", got)
	}
}

func TestTheReasonOfARefusedConnectionIsHiddenWithTopics(t *testing.T) {
	for _, observed := range []bool{false, true} {
		bubble(t, func(t *testing.T, b *streamtest.Broker) {
			p := &Page{Topics: -1}
			o := mqtt.Options{Version: mqtt.V5}
			if observed {
				o.Observer = p.Observer("a")
			}
			p.Add("a", open(t, b, o))
			v := watch(t, p)
			v.next(t)
			conn := b.Accept()
			conn.ExpectConnect()
			conn.Send(frames.Connack{Code: mqtt.NotAuthorized, Properties: &frames.ConnackProperties{Reason: `will topic "hush/x"`}})
			text := <-v.events
			got := parse(t, text).Clients[0]
			if strings.Contains(text, "hush") || !strings.Contains(got.Error, "not authorized (the text of the error is hidden)") ||
				len(got.Alarms) != 1 || observed && len(got.History) != 1 {
				t.Errorf("observed %t: %s", observed, text)
			}
		})
	}
}
