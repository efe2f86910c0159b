package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestACollectorThatFailsIsReportedOnce(t *testing.T) {
	r := startReceiver(t)
	r.answer(http.StatusNotFound)
	p := startExport(t, r.url)
	p.Expect(`^collector fails: .* 404 Not Found`)
	r.await(t, func() bool { return r.requests > 9 })
	r.answer(http.StatusOK)
	p.Expect(`^collector answers again$`)
	r.await(t, func() bool { return len(r.named("process")) > 0 && len(r.metrics) > 0 })
	r.answer(http.StatusNotFound)
	p.Expect(`^collector fails: .* 404 Not Found`)
	if n := reports(p.Interrupt()); n != 3 {
		t.Errorf("%d reports, want 3", n)
	}
}

func TestTheProgramGoesOnWithoutACollector(t *testing.T) {
	p := startExport(t, "http://127.0.0.1:1")
	p.Expect(`^connected `, `^collector fails: .* refused`)
	if n := reports(p.Interrupt()); n != 1 {
		t.Errorf("%d reports, want 1", n)
	}
}

// reports returns how many lines are about the collector.
func reports(lines []string) (n int) {
	for _, line := range lines {
		if strings.HasPrefix(line, "collector ") {
			n++
		}
	}
	return n
}

// goleak demands that no export goes on.
func TestTheEndDoesNotWaitForACollectorThatDoesNotAnswer(t *testing.T) {
	asked, cut := make(chan struct{}), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		io.Copy(io.Discard, req.Body) // the server notices the end of the connection only after the body
		asked <- struct{}{}
		<-req.Context().Done()
		close(cut)
	}))
	defer s.Close()
	exported, err := newTelemetry(t.Context(), s.URL)
	if err != nil {
		t.Fatal(err)
	}
	_, span := exported.tracers.Tracer("test").Start(t.Context(), "measure")
	span.End()
	grace, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		exported.shutdown(grace)
	}()
	<-asked
	cancel()
	<-ended
	select {
	case <-cut:
	case <-time.After(10 * time.Second): // the export alone would take 30
		t.Fatal("the export goes on")
	}
}
