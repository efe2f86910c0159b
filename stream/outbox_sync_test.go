package stream

import (
	"errors"
	"math"
	"testing"
)

// ask calls sync. The channel gets its answer.
func (r *outboxRig) ask() <-chan error {
	reply := make(chan error, 1)
	r.sync(reply)
	return reply
}

func wantUnanswered(t *testing.T, reply <-chan error) {
	t.Helper()
	select {
	case err := <-reply:
		t.Errorf("answered early: %v", err)
	default:
	}
}

func wantAnswer(t *testing.T, reply <-chan error, want error) {
	t.Helper()
	select {
	case err := <-reply:
		if !errors.Is(err, want) {
			t.Errorf("answer %v, want %v", err, want)
		}
	default:
		t.Error("no answer")
	}
}

func TestSyncWithoutChangesIsAnsweredAtOnce(t *testing.T) {
	r := newOutboxRig(t)
	wantAnswer(t, r.ask(), nil)
	r.puback(1)
	wantAnswer(t, r.ask(), nil) // bytes are no changes
	r.accepts = 0
	r.flush(0)
	wantAnswer(t, r.ask(), nil) // nor are those being written
}

func TestSyncWaitsForTheChangesInTheJournal(t *testing.T) {
	r := newOutboxRig(t)
	r.change(7)
	before := r.ask()
	wantUnanswered(t, before)
	r.flush(0)
	during := r.ask() // its change is being committed
	wantUnanswered(t, before)
	wantUnanswered(t, during)
	r.answer(0)
	wantAnswer(t, before, nil)
	wantAnswer(t, during, nil)
	wantAnswer(t, r.ask(), nil)
}

// A call that came after a batch was handed over, with a change that is not in it, waits for the
// next batch.
func TestSyncWaitsForItsOwnBatch(t *testing.T) {
	r := newOutboxRig(t)
	r.change(7)
	first := r.ask()
	r.flush(0)
	r.change(8)
	second := r.ask()
	r.answer(0)
	wantAnswer(t, first, nil)
	wantUnanswered(t, second)
	r.flush(0)
	wantUnanswered(t, second)
	r.answer(0)
	wantAnswer(t, second, nil)
}

// Every waiting call learns that a commit has failed: those for later batches too, which wait
// behind it.
func TestSyncIsAnsweredWithTheErrorOfACommit(t *testing.T) {
	r := newOutboxRig(t)
	r.commit = errDisk
	r.change(7)
	first := r.ask()
	r.flush(0)
	r.change(8)
	second := r.ask()
	r.answer(0)
	wantAnswer(t, first, errDisk)
	wantAnswer(t, second, errDisk)
}

// While a failed commit waits to be repeated its changes are not in the Store, though the journal
// is empty.
func TestSyncWaitsForAFailedCommit(t *testing.T) {
	r := failOnce(t, 0)
	waiting := r.ask()
	wantUnanswered(t, waiting)
	r.flush(r.retryAt())
	repeated := r.ask()
	wantUnanswered(t, waiting)
	wantUnanswered(t, repeated)
	r.answer(r.retryAt())
	wantAnswer(t, waiting, nil)
	wantAnswer(t, repeated, nil)
}

// With a failed commit and newer changes, the newer ones must be committed too.
func TestSyncWaitsForChangesBehindAFailedCommit(t *testing.T) {
	r := failOnce(t, 0)
	old := r.ask()
	r.change(8)
	both := r.ask()
	r.flush(r.retryAt())
	r.answer(r.retryAt())
	wantAnswer(t, old, nil)
	wantUnanswered(t, both)
	r.flush(r.retryAt())
	r.answer(r.retryAt())
	wantAnswer(t, both, nil)
}

// The end of the session answers the calls that are left, in any batch.
func TestAnswerSyncsAnswersUpToANumber(t *testing.T) {
	r := newOutboxRig(t)
	r.change(7)
	first := r.ask()
	r.filling.number = 3
	third := r.ask()
	r.answerSyncs(2, nil)
	wantAnswer(t, first, nil)
	wantUnanswered(t, third)
	r.answerSyncs(math.MaxUint64, errDisk)
	wantAnswer(t, third, errDisk)
	if len(r.syncs) > 0 {
		t.Errorf("%d calls are left", len(r.syncs))
	}
}

func TestSyncThatIsGivenUpIsForgotten(t *testing.T) {
	r := newOutboxRig(t)
	r.change(1)
	gone, kept := make(chan error, 1), make(chan error, 1)
	r.sync(gone)
	r.sync(kept)
	r.dropSync(gone)
	if len(r.syncs) != 1 {
		t.Errorf("%d calls of Sync wait, want 1", len(r.syncs))
	}
	r.answerSyncs(math.MaxUint64, nil)
	wantUnanswered(t, gone)
	wantAnswer(t, kept, nil)
}
