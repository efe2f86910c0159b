module github.com/go-millrace/mqtt

go 1.25

require (
	github.com/jpillora/backoff v1.1.0
	go.uber.org/goleak v1.3.0
)

require github.com/coder/websocket v1.8.15
