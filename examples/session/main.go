// Session publishes a reading from a session on disk, and waits until the broker has it.
package main

import (
	"context"
	"log"
)

func main() {
	if err := session(context.Background(), "mqtt://localhost:1883", "session"); err != nil {
		log.Fatal(err)
	}
}
