//go:build !wasm

package boltstore

import (
	"encoding/binary"
	"time"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
)

// sessionSize is the size of a session record without the client identifier.
const sessionSize = 1 + 4 + 8 + 4

// needsRecord reports whether r needs a file of format 2. A file of format 1 has no session record,
// which stands for a session of a version before MQTT 5 whose client identifier the client chose.
func needsRecord(r *flow.SessionRecord) bool { return r.Version >= frames.V5 || r.ClientID != "" }

func appendSession(dst []byte, r *flow.SessionRecord) []byte {
	at := len(dst)
	dst = append(dst, byte(r.Version))
	dst = binary.BigEndian.AppendUint32(dst, r.Expiry)
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.Seen.Unix()))
	dst = append(dst, 0, 0, 0, 0)
	dst = append(dst, r.ClientID...)
	seal(sessionKey, dst[at:], sessionSize-4)
	return dst
}

func parseSession(value []byte) (*flow.SessionRecord, error) {
	if len(value) < sessionSize {
		return nil, errLength
	}
	if err := checkSeal(sessionKey, value, sessionSize-4); err != nil {
		return nil, err
	}
	return &flow.SessionRecord{
		Version:  frames.Version(value[0]),
		ClientID: string(value[sessionSize:]),
		Expiry:   binary.BigEndian.Uint32(value[1:]),
		Seen:     time.Unix(int64(binary.BigEndian.Uint64(value[5:])), 0).UTC(),
	}, nil
}
