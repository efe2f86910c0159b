package live

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// Shutdown of a server waits for a page that is open in a browser, unless Close is registered.
func TestShutdownEndsAtOnceWithARegisteredClose(t *testing.T) {
	for _, registered := range []bool{false, true} {
		page := Handler()
		server := httptest.NewServer(page)
		if registered {
			server.Config.RegisterOnShutdown(page.Close)
		}
		viewer, err := http.Get(server.URL + "?get=events")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(viewer.Body, make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		timeout := 100 * time.Millisecond
		if registered {
			timeout = 30 * time.Second
		}
		grace, cancel := context.WithTimeout(t.Context(), timeout)
		err = server.Config.Shutdown(grace)
		if late := errors.Is(err, context.DeadlineExceeded); late == registered || !late && err != nil {
			t.Errorf("registered %t: Shutdown returned %v", registered, err)
		}
		cancel()
		page.Close()
		viewer.Body.Close()
		server.Close()
	}
	http.DefaultClient.CloseIdleConnections()
}
