module github.com/go-millrace/mqtt/examples

go 1.25

require (
	github.com/coder/websocket v1.8.15
	github.com/go-millrace/mqtt v0.0.0
	github.com/mochi-mqtt/server/v2 v2.7.9
	github.com/xdg-go/scram v1.4.0
	go.uber.org/goleak v1.3.0
	golang.org/x/net v0.44.0
)

require (
	github.com/gorilla/websocket v1.5.0 // indirect
	github.com/jpillora/backoff v1.1.0 // indirect
	github.com/rs/xid v1.4.0 // indirect
	github.com/stretchr/testify v1.10.0 // indirect
	github.com/xdg-go/stringprep v1.0.4 // indirect
	golang.org/x/sys v0.36.0 // indirect
	golang.org/x/text v0.29.0 // indirect
	gopkg.in/yaml.v3 v3.0.1 // indirect
)

replace github.com/go-millrace/mqtt => ../
