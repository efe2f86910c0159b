package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/go-millrace/mqtt"
)

// hiddenText describes err in words of its own, for a page that shows no topics: the text of err
// can quote the broker, an HTTP server or code of the user. The description has reason codes,
// status codes and errors of the operating system, and says that the text is hidden.
func hiddenText(err error) string {
	list := kinds(nil, err)
	if len(list) == 0 {
		list = []string{"an error"}
	}
	return strings.Join(list, "; ") + " (the text of the error is hidden)"
}

// kinds appends a description of each error in the tree of err that it knows.
func kinds(list []string, err error) []string {
	add := func(format string, args ...any) []string {
		if text := fmt.Sprintf(format, args...); !slices.Contains(list, text) {
			list = append(list, text)
		}
		return list
	}
	switch e := err.(type) {
	case *mqtt.PoisonError:
		return kinds(add("the broker closed %d connections in a row at a PUBLISH", e.Closes), e.Err)
	case *mqtt.ConnectError:
		return add("connection refused: %v", e.Code)
	case *mqtt.DisconnectError:
		return add("the broker closed the connection: %v", e.Code)
	case *mqtt.HTTPError:
		return add("WebSocket: the server answered %d %s", e.Status, http.StatusText(e.Status))
	case *mqtt.ProtocolError:
		return add("protocol violation: %v", e.Code())
	case mqtt.ReasonCode:
		return add("%v", e)
	case *net.DNSError:
		return add("the look-up of the host name failed")
	case *os.SyscallError:
		return add("%v", e)
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			list = kinds(list, inner)
		}
		return list
	}
	if inner := errors.Unwrap(err); inner != nil {
		return kinds(list, inner)
	}
	var late net.Error
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return add("the connection was closed")
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &late) && late.Timeout():
		return add("timeout")
	}
	return list
}
