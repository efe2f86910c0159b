package cloudeventsmqtt_test

import (
	"fmt"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if mosquittoPath() == "" {
		fmt.Println("mosquitto is not installed: only mochi is tested")
	}
	goleak.VerifyTestMain(m)
}
