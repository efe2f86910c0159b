package flow_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// publishesAgain sends PUBLISH once more after each PUBREL.
func publishesAgain(w *world, packets []packet) (sent []packet) {
	for _, p := range packets {
		sent = append(sent, p)
		for _, q := range w.broker.inbound {
			if p.kind == frames.TypePubrel && q.id == p.id {
				sent = append(sent, packet{kind: frames.TypePublish, id: p.id, msg: q.msg, dup: true})
			}
		}
	}
	return sent
}

// swapsAcks reverses the packets of a batch.
func swapsAcks(_ *world, packets []packet) []packet {
	slices.Reverse(packets)
	return packets
}

// forgetsDUP sends every PUBLISH as a new one.
func forgetsDUP(_ *world, packets []packet) []packet {
	for i := range packets {
		packets[i].dup = false
	}
	return packets
}

// losesBatch commits a batch and writes nothing.
func losesBatch(*world, []packet) []packet { return nil }

// purges drops the QoS 1 messages that wait when a session is resumed.
func purges(w *world) {
	w.inbox = slices.DeleteFunc(w.inbox, func(d waiting) bool { return w.plan.in[d.msg] == frames.AtLeastOnce })
}

// acksUnread acknowledges a message that no consumer has acknowledged.
func acksUnread(w *world) {
	for _, d := range w.inbox {
		w.receiver.Ack(d.seq)
	}
}

// releasesRefused sends PUBREL after a PUBREC that refuses the publication (V42).
func releasesRefused(w *world, p packet) {
	if p.kind == frames.TypePubrec {
		w.filling = append(w.filling, packet{kind: frames.TypePubrel, id: p.id})
	}
}

// keepsRejected records a QoS 2 message that was rejected as received (V46).
func keepsRejected(w *world, d waiting) {
	w.store = w.store.Clone()
	_ = w.store.Commit([]flow.Change{{Kind: flow.Received, ID: d.id}})
}

// The exploration finds a client that breaks a rule, and the shortest way to see it.
func TestTheExplorationFindsAFaultWithItsShortestTrace(t *testing.T) {
	for _, x := range []struct {
		name  string
		plan  plan
		want  string
		steps int
	}{
		{"PUBLISH after PUBREL", plan{window: 1, out: []frames.QoS{q2}, fault: fault{written: publishesAgain}},
			"PUBLISH of publication 0 after its PUBREL", 8},
		{"acks out of order", plan{window: 1, in: []frames.QoS{q1, q1}, fault: fault{written: swapsAcks}},
			"PUBACK 2 is out of order", 11},
		{"no DUP", plan{window: 1, out: []frames.QoS{q2}, cuts: 1, fault: fault{written: forgetsDUP}},
			"publication 0 comes again without DUP", 8},
		{"a lost batch", plan{window: 1, out: []frames.QoS{q1}, fault: fault{written: losesBatch}},
			"nothing is left to do, and publication 0 has not ended", 3},
		{"a purge", plan{window: 1, in: []frames.QoS{q1}, cuts: 2, losses: 1, fault: fault{resumed: purges}},
			"message 0 has arrived and is never handed over", 8},
		{"an ack for an unread message", plan{window: 1, in: []frames.QoS{q2}, cuts: 1, fault: fault{resumed: acksUnread}},
			"which no consumer has acknowledged", 8},
		{"PUBREL after a refusal", plan{v5: true, window: 1, out: []frames.QoS{q2}, refusals: 1, fault: fault{refused: releasesRefused}},
			"PUBREL 1 for a publication that was refused", 7},
		{"a rejected message in the store", plan{v5: true, window: 1, in: []frames.QoS{q2}, rejects: 1, fault: fault{rejects: keepsRejected}},
			"Received:[1]", 7},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := explore(newWorld(&x.plan))
			if !strings.Contains(r.wrong, x.want) {
				t.Fatalf("found %v, want %q", r, x.want)
			}
			t.Log(r)
			if len(r.trace) != x.steps {
				t.Errorf("the shortest trace has %d steps", x.steps)
			}
		})
	}
}
