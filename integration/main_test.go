package integration

import (
	"fmt"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	beChild()
	runTogether()
	if mosquittoPath() == "" {
		fmt.Println(notInstalled)
	}
	goleak.VerifyTestMain(tests{m})
}

// tests runs the tests and stops the shared brokers before goleak looks for goroutines.
type tests struct{ *testing.M }

func (t tests) Run() int {
	defer endEjabberd()
	defer endRabbitMQ()
	return t.M.Run()
}
