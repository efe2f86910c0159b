module github.com/go-millrace/mqtt/examples/live

go 1.25.0

require (
	github.com/go-millrace/mqtt v0.0.0
	github.com/go-millrace/mqtt/examples v0.0.0
	github.com/go-millrace/mqtt/stream/live v0.0.0
)

require (
	github.com/coder/websocket v1.8.15 // indirect
	github.com/gorilla/websocket v1.5.0 // indirect
	github.com/jpillora/backoff v1.1.0 // indirect
	github.com/mochi-mqtt/server/v2 v2.7.9 // indirect
	github.com/rs/xid v1.4.0 // indirect
	go.uber.org/goleak v1.3.0 // indirect
	gopkg.in/yaml.v3 v3.0.1 // indirect
)

replace (
	github.com/go-millrace/mqtt => ../..
	github.com/go-millrace/mqtt/examples => ..
	github.com/go-millrace/mqtt/stream/live => ../../stream/live
)
