package flow

import "github.com/go-millrace/mqtt/frames"

// quota limits the QoS 1 and 2 messages of a connection that await the end of their exchange, as
// the Receive Maximum in CONNECT demands of the broker (MQTT 5, section 4.9).
//
// Some brokers send the whole backlog of a resumed session at once, each message with DUP. These
// messages do not count.
type quota struct {
	limit   int32 // 0: none
	used    int32
	extra   int32  // messages that await the end of their exchange and do not count
	resumed bool   // the connection has resumed a session
	surplus uint64 // messages that came in excess of the limit
}

// counted says how a message counts in the quota.
type counted byte

const (
	uncounted counted = iota
	inQuota
	besideQuota
)

// SetQuota sets the Receive Maximum of a new connection, 0 for none. The parameter resumed says
// that the broker has the session.
func (r *Receiver) SetQuota(limit uint16, resumed bool) {
	r.quota.limit, r.quota.resumed = int32(limit), resumed
}

// Admits reports whether the broker may send this QoS 1 or 2 PUBLISH now [MQTT-3.3.4-9]. Call it
// before Arrive.
func (r *Receiver) Admits(qos frames.QoS, id uint16, dup bool) bool {
	if r.limit == 0 || r.used < r.limit || dup && r.resumed {
		return true
	}
	in := r.ids.find(id)
	return qos == frames.ExactlyOnce && in != nil && in.counted != uncounted
}

// Exceed records that a message which Admits has not admitted is accepted all the same.
func (r *Receiver) Exceed() { r.surplus++ }

// Surplus returns how many messages came in excess of the quota.
func (r *Receiver) Surplus() uint64 { return r.surplus }

// count counts a message.
func (q *quota) count(dup bool) counted {
	if q.limit == 0 {
		return uncounted
	}
	if dup && q.resumed {
		if q.extra++; q.used+q.extra > q.limit {
			q.surplus++
		}
		return besideQuota
	}
	q.used++
	return inQuota
}

// uncount takes back the count of a message whose exchange has ended.
func (q *quota) uncount(c counted) {
	switch c {
	case inQuota:
		q.used--
	case besideQuota:
		q.extra--
	}
}

// rejections hold the reasons of rejected deliveries until their acks are sent, and the rejection
// of the message whose deliveries Next is collecting.
type rejections struct {
	reasons map[uint64]string // by the number of the delivery
	message rejection
}

// A rejection is the highest code of the deliveries of a message, and the reason with it.
type rejection struct {
	code   frames.ReasonCode
	reason string
}

// Reject records that the consumer refused delivery seq with a code of 0x80 or above (MQTT 5,
// section 4.3). The reason string may be empty. It takes effect like Ack.
func (r *Receiver) Reject(seq uint64, code frames.ReasonCode, reason string) {
	if reason != "" && r.Pending(seq) && seq >= r.connStart {
		if r.reasons == nil {
			r.reasons = make(map[uint64]string)
		}
		r.reasons[seq] = reason
	}
	r.settle(seq, code)
}

// collect adds the code of the next delivery of a message, which its consumer has rejected.
func (j *rejections) collect(code frames.ReasonCode, seq uint64) {
	reason := j.reasons[seq]
	delete(j.reasons, seq)
	if code > j.message.code {
		j.message = rejection{code, reason}
	}
}

// collected returns the code and the reason of a rejected message after its last delivery.
func (j *rejections) collected() (code frames.ReasonCode, p *frames.AckProperties) {
	code = j.message.code
	if j.message.reason != "" {
		p = &frames.AckProperties{Reason: j.message.reason}
	}
	j.message = rejection{}
	return code, p
}
