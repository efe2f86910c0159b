module github.com/go-millrace/mqtt

go 1.25

require (
	github.com/coder/websocket v1.8.15
	github.com/jpillora/backoff v1.1.0
	go.etcd.io/bbolt v1.4.3
	go.uber.org/goleak v1.3.0
	pgregory.net/rapid v1.3.0
)

require golang.org/x/sys v0.29.0
