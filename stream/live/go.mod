module github.com/go-millrace/mqtt/stream/live

go 1.25

replace github.com/go-millrace/mqtt => ../..

require (
	github.com/chromedp/chromedp v0.23.0
	github.com/go-millrace/mqtt v0.0.0
	github.com/jpillora/backoff v1.1.0
	go.uber.org/goleak v1.3.0
)

require (
	github.com/chromedp/cdproto v0.159.0 // indirect
	github.com/coder/websocket v1.8.15 // indirect
	github.com/go-json-experiment/json v0.0.0-20260213210345-44df1a37e875 // indirect
)
