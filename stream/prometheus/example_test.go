package mqttprom_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/go-millrace/mqtt"
	mqttprom "github.com/go-millrace/mqtt/stream/prometheus"
)

// A program serves the figures of its client. This one has no broker, so the client is not online.
func Example() {
	noBroker := func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no broker here") }
	client, err := mqtt.Open("mqtt://broker", &mqtt.Options{DialContext: noBroker})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	registry := prometheus.NewRegistry()
	registry.MustRegister(mqttprom.New(client, prometheus.Labels{"client": "gauge"}))
	metrics := promhttp.HandlerFor(registry, promhttp.HandlerOpts{})

	// A program calls http.Handle("/metrics", metrics). This is one scrape:
	response := httptest.NewRecorder()
	metrics.ServeHTTP(response, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "millrace_online") {
			fmt.Println(lines.Text())
		}
	}

	// Output: millrace_online{client="gauge"} 0
}
