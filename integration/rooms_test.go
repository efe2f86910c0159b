package integration

import (
	"fmt"
	"net/url"
	"sync/atomic"
	"testing"
)

// rooms hands out the virtual hosts of a broker that tests share. Topics and sessions of one
// virtual host are not seen in another one, so that a test has its room for itself.
type rooms struct{ used atomic.Int64 }

// maxRooms is the number of virtual hosts of a shared broker.
const maxRooms = 60

func roomNames() (names []string) {
	for i := range maxRooms {
		names = append(names, fmt.Sprintf("room%d", i))
	}
	return names
}

// enter returns the shared broker with a URL that leads its user into the next room. user returns
// the name under which the broker knows the user of a room.
func (r *rooms) enter(t *testing.T, shared *broker, user func(room string) string) *broker {
	t.Helper()
	i := r.used.Add(1) - 1
	if i >= maxRooms {
		t.Fatalf("all %d rooms of %s are used; run fewer tests at once", maxRooms, shared.name)
	}
	u, err := url.Parse(shared.url)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(user(roomNames()[i]), everything().password)
	return &broker{name: shared.name, version: shared.version, url: u.String()}
}
