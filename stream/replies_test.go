package stream

import (
	"errors"
	"testing"

	"github.com/go-millrace/mqtt/frames"
)

// newReplies returns replies with an open mailbox, and a request that waits there.
func newReplies(t *testing.T) (*replies, *pendingRequest) {
	t.Helper()
	r := new(replies)
	r.connected(&terms{clientID: "c", version: frames.V5})
	box, topic, opens, err := r.mailbox()
	if err != nil || !opens || topic == "" {
		t.Fatalf("mailbox: topic %q, opens %v, error %v", topic, opens, err)
	}
	r.opened(box, nil, false)
	q := &pendingRequest{replies: r, box: box, result: make(chan Reply, 1)}
	if err := r.register(q); err != nil {
		t.Fatal(err)
	}
	return r, q
}

func replyFor(q *pendingRequest) *Delivery {
	return &Delivery{Message: frames.Message{Properties: &frames.Properties{Correlation: q.id[:]}}}
}

func TestARequestGetsOneResult(t *testing.T) {
	r, q := newReplies(t)
	r.deliver(replyFor(q))
	r.deliver(replyFor(q))
	r.end(q, errors.New("later"))
	r.close(q.box, errors.New("later"))
	if got := <-q.result; got.Err != nil {
		t.Errorf("the result is %v", got.Err)
	}
	if n := r.lateReplies(); n != 1 {
		t.Errorf("%d late replies, want 1", n)
	}
	if len(q.result) > 0 || len(r.waiting) > 0 {
		t.Errorf("%d more results, %d requests wait", len(q.result), len(r.waiting))
	}
}

func TestARequestWhosePublicationRunsOutlivesItsMailbox(t *testing.T) {
	r, q := newReplies(t)
	cause := errors.New("unsubscribed")
	r.close(q.box, cause)
	if len(q.result) > 0 {
		t.Fatal("the request has its result before its Receipt")
	}
	q.published(Receipt{}, nil)
	if got := <-q.result; !errors.Is(got.Err, cause) || !errors.Is(got.Err, ErrUnconfirmed) {
		t.Errorf("the result is %v", got.Err)
	}
	if err := r.register(&pendingRequest{replies: r, box: q.box}); !errors.Is(err, cause) {
		t.Errorf("a request at a closed mailbox: %v", err)
	}
}

func TestAnAcknowledgedRequestEndsWithTheBrokersSession(t *testing.T) {
	r, q := newReplies(t)
	r.connected(&terms{version: frames.V5})
	if len(q.result) > 0 {
		t.Fatal("a request without ack ended, which is sent again")
	}
	q.published(Receipt{}, nil)
	r.connected(&terms{version: frames.V5, resumed: true})
	if len(q.result) > 0 {
		t.Fatal("the request ended with a session that goes on")
	}
	r.connected(&terms{version: frames.V5})
	if got := <-q.result; !errors.Is(got.Err, ErrSessionLost) {
		t.Errorf("the result is %v", got.Err)
	}
}
