package link

import (
	"errors"
	"io"
	"slices"

	"github.com/coder/websocket"

	"github.com/go-millrace/mqtt/frames"
)

// ClosedByBroker reports whether a read or a write failed because the broker closed the connection,
// and may have done so because of a packet of the client: with the end of the stream, a reset, a
// closed WebSocket, or a DISCONNECT whose code names no other reason. A proxy that resets
// connections looks the same.
func ClosedByBroker(err error) bool {
	var bye *DisconnectError
	switch {
	case errors.As(err, &bye):
		return !slices.Contains(otherReasons, bye.Code)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), websocket.CloseStatus(err) >= 0:
		return true
	}
	return slices.ContainsFunc(resets, func(reset error) bool { return errors.Is(err, reset) })
}

// otherReasons are the codes of a DISCONNECT that no single packet causes.
var otherReasons = []frames.ReasonCode{
	frames.ServerBusy, frames.ServerShuttingDown, frames.KeepAliveTimeout, frames.SessionTakenOver,
	frames.AdministrativeAction, frames.UseAnotherServer, frames.ServerMoved,
	frames.ConnectionRateExceeded, frames.MaximumConnectTime,
}
