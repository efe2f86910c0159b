package integration

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/go-millrace/mqtt"
	"github.com/go-millrace/mqtt/frames"
)

// handshake connects without millrace, for tests that write packets themselves.
func handshake(t *testing.T, b *broker, p frames.Connect) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", b.url[len("mqtt://"):])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	send(t, conn, p, p.Version)
	header := make([]byte, 2)
	if _, err := io.ReadFull(conn, header); err != nil {
		t.Fatal(err)
	}
	connack := make([]byte, header[1]) // with properties on MQTT 5
	if _, err := io.ReadFull(conn, connack); err != nil || connack[1] != 0 {
		t.Fatalf("CONNACK % x, %v", connack, err)
	}
	return conn
}

func send(t *testing.T, conn net.Conn, p frames.Packet, v mqtt.Version) {
	t.Helper()
	packet, err := p.Append(nil, v)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(packet); err != nil {
		t.Fatal(err)
	}
}

// [MQTT-3.1.2-24] A broker disconnects a client that is silent for one and a half times the keep
// alive. An idle millrace client with the same keep alive stays connected.
func TestAnIdleClientOutlastsASilentOne(t *testing.T) {
	withVersions(t, heavy(), setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
		const keepAlive = 3
		c := dial(t, b.url, mqtt.Options{Version: v, ClientID: "idle", KeepAlive: keepAlive * time.Second})
		start := time.Now()
		silent := handshake(t, b, frames.Connect{Version: v, ClientID: "silent", CleanSession: true, KeepAlive: keepAlive})
		_, err := silent.Read(make([]byte, 1))
		for err == nil { // mochi sends DISCONNECT before it closes
			_, err = silent.Read(make([]byte, 1))
		}
		if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("the broker did not disconnect the silent client: %v", err)
		}
		if d := time.Since(start); d < keepAlive*time.Second {
			t.Errorf("disconnected after %v", d)
		}
		publish(t, c, text("t", "still here", 2))
		if n := c.Stats().Connections; n != 1 {
			t.Errorf("%d connections", n)
		}
	})
}
