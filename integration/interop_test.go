package integration

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/go-millrace/mqtt"
)

// The client exchanges messages with mosquitto_pub and mosquitto_sub, which are independent
// clients.
func TestClientsOfAnotherMake(t *testing.T) {
	pub, err := exec.LookPath("mosquitto_pub")
	if err != nil {
		t.Log("mosquitto_pub is not installed: nothing is tested")
		return
	}
	sub, err := exec.LookPath("mosquitto_sub")
	if err != nil {
		t.Log("mosquitto_sub is not installed: nothing is tested")
		return
	}
	withEach(t, setup{}, func(t *testing.T, b *broker, v mqtt.Version) {
		host, port, _ := strings.Cut(b.url[len("mqtt://"):], ":")
		theirs := func(program, topic string, q mqtt.QoS, args ...string) string {
			t.Helper()
			version := map[mqtt.Version]string{mqtt.V31: "mqttv31", mqtt.V311: "mqttv311", mqtt.V5: "mqttv5"}[v]
			args = append([]string{"-h", host, "-p", port, "-V", version, "-t", topic, "-q", strconv.Itoa(int(q))}, args...)
			out, err := exec.CommandContext(within(t), program, args...).CombinedOutput()
			if err != nil {
				t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
			}
			return string(out)
		}
		c := dial(t, b.url, mqtt.Options{Version: v, ClientID: "ours"})
		messages := subscribe(t, c, mqtt.Filter{Topic: "theirs/+", QoS: mqtt.ExactlyOnce}).Messages()
		for _, q := range levels {
			topic := fmt.Sprintf("theirs/%d", q)
			theirs(pub, topic, q, "-m", "größe")
			expect(t, messages, text(topic, "größe", q))

			m := text(fmt.Sprintf("ours/%d", q), "größe", q)
			m.Retain = true // so that mosquitto_sub, which starts later, receives it
			publish(t, c, m)
			routed(t, c)
			want := fmt.Sprintf("%s %d 1 größe\n", m.Topic, q)
			if got := theirs(sub, m.Topic, q, "-C", "1", "-F", "%t %q %r %p"); got != want {
				t.Errorf("mosquitto_sub got %q, want %q", got, want)
			}
		}
	})
}
