package stream

// topicNotes are topics that are logged once each. They are bounded in number and in bytes, since
// the broker chooses them; further topics are not logged.
type topicNotes struct {
	noted    map[string]struct{} // logged, or in unlogged
	unlogged []string
	bytes    int // of the topics in noted
}

const (
	maxNotedTopics = 1024
	maxNotedBytes  = 64 << 10
)

// note puts a topic into *notes, once.
func note(notes **topicNotes, topic string) {
	if *notes == nil {
		*notes = &topicNotes{noted: make(map[string]struct{})}
	}
	n := *notes
	if _, ok := n.noted[topic]; ok || len(n.noted) >= maxNotedTopics || n.bytes+len(topic) > maxNotedBytes {
		return
	}
	n.noted[topic] = struct{}{}
	n.bytes += len(topic)
	n.unlogged = append(n.unlogged, topic)
}

// take returns the topics noted since the last call.
func (n *topicNotes) take() []string {
	if n == nil {
		return nil
	}
	topics := n.unlogged
	n.unlogged = nil
	return topics
}

// logTopics logs the topics noted since the last call. The caller holds no lock, because a log
// handler is code of the user.
func (l *packetLog) logTopics() {
	for _, topic := range l.unclaimed.take() {
		l.Info("no Subscription claims this topic: its messages wait for Messages, Deliveries or All of the client", "topic", topic)
	}
	for _, topic := range l.tooLarge.take() {
		l.Warn("a message above MaxPacket is acknowledged and dropped", "topic", topic)
	}
}
