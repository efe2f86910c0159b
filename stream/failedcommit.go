package stream

import (
	"time"

	"github.com/go-millrace/mqtt/flow"
)

// commitRetry is the time after which a failed commit is repeated.
const commitRetry = time.Second

// A failedCommit is a commit to be repeated. It is nil while there is none, so that a session whose
// Store works, or that has none, keeps no memory for it.
//
// Invariant: changes is empty while the commit is being repeated.
type failedCommit struct {
	number  uint64 // of the batch
	changes []flow.Change
	kinds   flow.ChangeKinds // of the changes
	err     error
	retryAt time.Duration
}

// waits reports whether the commit waits to be repeated.
func (f *failedCommit) waits() bool { return f != nil && len(f.changes) > 0 }

// again returns the batch that repeats the commit.
func (f *failedCommit) again() batch {
	b := batch{number: f.number, kinds: f.kinds, buffers: buffers{changes: f.changes}}
	f.changes = nil
	return b
}

// failing returns the error of the last commit, nil if that commit succeeded.
func (o *outbox) failing() error {
	if o.failed == nil {
		return nil
	}
	return o.failed.err
}

// retryAt returns the time at which a failed commit is repeated, 0 if there is none.
func (o *outbox) retryAt() time.Duration {
	if o.failed == nil {
		return 0
	}
	return o.failed.retryAt
}

// retryNow makes the next flush repeat a failed commit without waiting.
func (o *outbox) retryNow() {
	if o.failed != nil {
		o.failed.retryAt = 0
	}
}
