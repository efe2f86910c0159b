package link

import (
	"maps"
	"time"

	"github.com/go-millrace/mqtt/frames"
)

// fallbackLasts is how long an endpoint that knows no MQTT 5 is not asked for MQTT 5 again, so that
// such a broker costs one more connection an hour.
const fallbackLasts = time.Hour

// versions are the protocol versions that endpoints accept, when the version is negotiated.
//
// Invariant: an endpoint is in older only if it accepted 3.1.1 after it had refused MQTT 5.
type versions struct {
	fixed frames.Version // the only version; 0: 5, or 3.1.1 at a broker that does not know 5
	older map[string]time.Time
}

// toTry returns the versions for an endpoint, in order. The parameter pinned is the version of the
// session that the broker keeps, or 0: it comes first.
func (v *versions) toTry(endpoint string, pinned frames.Version, now time.Time) []frames.Version {
	switch since, older := v.older[endpoint]; {
	case v.fixed != 0:
		return []frames.Version{v.fixed}
	case pinned == 0 && older && now.Sub(since) < fallbackLasts, pinned != 0 && pinned < frames.V5:
		return []frames.Version{frames.V311, frames.V5}
	}
	return []frames.Version{frames.V5, frames.V311}
}

// accepted records the version of a connection. The parameter refused says that the endpoint has
// refused another version before.
func (v *versions) accepted(endpoint string, is frames.Version, refused bool, now time.Time) {
	switch {
	case is >= frames.V5:
		delete(v.older, endpoint)
	case refused:
		if v.older == nil {
			v.older = make(map[string]time.Time)
		}
		// Redirects may lead to ever new endpoints.
		maps.DeleteFunc(v.older, func(_ string, since time.Time) bool { return now.Sub(since) >= fallbackLasts })
		v.older[endpoint] = now
	}
}
