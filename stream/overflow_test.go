package stream

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

func TestAFullQueueIsLoggedOnceUntilHalfOfItIsFree(t *testing.T) {
	var text bytes.Buffer
	o := overflow{full: flow.EvictOldest, log: slog.New(slog.NewTextHandler(&text, nil))}
	logged := func(want int) {
		t.Helper()
		if n := strings.Count(text.String(), "level=WARN"); n != want {
			t.Errorf("logged %d times, want %d", n, want)
		}
	}
	o.rest(func() bool { t.Error("asked without a period"); return true })
	o.evict(5)
	o.evict(5)
	o.refuse(&frames.Message{}, 5)
	logged(1)
	o.rest(func() bool { return false })
	o.evict(5)
	logged(1)
	o.rest(func() bool { return true })
	o.refuse(&frames.Message{}, 5)
	logged(2)
	if o.evicted != 3 || o.refused != 2 {
		t.Errorf("%d evicted, %d refused", o.evicted, o.refused)
	}
}

func TestAMessageLargerThanTheQueueIsNoReasonToTryAgain(t *testing.T) {
	o := overflow{full: flow.Refuse, limit: 1000, log: slog.New(slog.DiscardHandler)}
	small, large := frames.Message{Topic: "t"}, frames.Message{Topic: "t", Payload: make([]byte, 1000)}
	for m, again := range map[*frames.Message]bool{&small: true, &large: false} {
		err := notSent(o.refuse(m, 1))
		if !errors.Is(err, ErrNotSent) || !errors.Is(err, ErrFull) || Retryable(err) != again {
			t.Errorf("%v, retryable %v", err, !again)
		}
		if strings.Count(err.Error(), "mqtt:") != 1 || strings.Contains(err.Error(), "QueueBytes, 1000") == again {
			t.Errorf("the text is %v", err)
		}
	}
}
