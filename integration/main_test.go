package integration

import (
	"fmt"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	beChild()
	if mosquittoPath() == "" {
		fmt.Println(notInstalled)
	}
	goleak.VerifyTestMain(tests{m})
}

// tests ends what runs for all of them before goroutines are counted.
type tests struct{ *testing.M }

func (t tests) Run() int {
	defer endRabbitMQ()
	return t.M.Run()
}
