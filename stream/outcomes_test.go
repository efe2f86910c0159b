package stream

import (
	"errors"
	"testing"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// A run counts with each of its messages, an error by its kind, and a withdrawn publication once.
func TestOutcomesCountEachPublicationOnce(t *testing.T) {
	var rows [][]Published
	recorded := new(timings)
	recorded.read(new(Timings))
	epoch := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	o := outcomes{clock: &clock{epoch: epoch, now: 5 * time.Second}, timings: recorded, observer: &observer{Observer: Observer{
		Published: func(row []Published) { rows = append(rows, append([]Published(nil), row...)) },
	}}}
	rest := []frames.Message{{Topic: "two"}, {Topic: "three"}}
	run := owner{tag: new(stage)}
	for _, e := range []struct {
		owner
		rest []frames.Message
		err  error
	}{
		{owner: run, rest: rest}, {owner: run, rest: rest, err: notSent(ErrFull)}, {owner: owner{tag: "mine", shift: 1}},
		{owner: owner{tag: new(publishCall)}, err: unconfirmed(ErrSessionLost)}, {owner: owner{shift: 1}, err: ErrRefused},
		{owner: owner{}, err: ErrRefused}, // withdrawn
	} {
		o.ended(&flow.Ended[owner]{Owner: e.owner, Rest: e.rest, At: 3 * time.Second, ID: 7}, e.err)
	}
	var st Stats
	if o.snapshot(&st); st.NotSent != 3 || st.Unconfirmed != 1 || st.Failed != 1 {
		t.Errorf("%d not sent, %d unconfirmed, %d failed, want 3, 1 and 1", st.NotSent, st.Unconfirmed, st.Failed)
	}
	var got Timings
	if recorded.read(&got); got.Published[0].Count != 4 || got.Published[0].Sum != 8*time.Second {
		t.Errorf("%d publications took %v, want 4 and 8 s", got.Published[0].Count, got.Published[0].Sum)
	}
	if len(rows) != 5 || len(rows[0]) != 3 || rows[0][2].Topic != "three" || rows[2][0].Tag != "mine" || rows[3][0].Tag != nil {
		t.Fatalf("the Observer saw %+v", rows)
	}
	for _, p := range rows[1] {
		if !errors.Is(p.Err, ErrFull) || p.Took != 2*time.Second || !p.Accepted.Equal(epoch.Add(3*time.Second)) || p.ID != 7 {
			t.Errorf("the Observer saw %+v", p)
		}
	}
	if cap(o.row) == 0 || o.row[:1][0].Topic != "" {
		t.Error("the scratch memory keeps messages")
	}
}
