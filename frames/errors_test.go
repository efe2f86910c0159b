package frames

import "testing"

func TestErrorsNameFieldLimitAndNumbers(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{&InvalidError{Field: "topic", Reason: "empty"}, "invalid topic: empty"},
		{QoS(3).check("will QoS"), "invalid will QoS: out of range: 3, limit 2"},
		{checkLength("password", 65536), "invalid password: too long in bytes: 65536, limit 65535"},
		{tooLong(MaxRemaining + 1), "invalid packet: remaining length too large in bytes: 268435456, limit 268435455"},
		{violation(TypePublish, "QoS 3"), "protocol violation: PUBLISH: QoS 3"},
		{violation(0, "packet type 15 is reserved"), "protocol violation: packet type 15 is reserved"},
		{&TooLargeError{Size: 268435460, Limit: 1 << 20}, "packet of 268435460 bytes is over the limit of 1048576"},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestConstantsFitTheEncoding(t *testing.T) {
	// Section 2.2.3: the remaining length has up to four bytes of seven bits, after the first byte.
	if MaxRemaining != 1<<28-1 || MaxPacket != 1+4+MaxRemaining || MaxString != 1<<16-1 {
		t.Error(MaxRemaining, MaxPacket, MaxString)
	}
}
