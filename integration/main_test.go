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
	goleak.VerifyTestMain(m)
}
