// Package mqtt is an MQTT 3.1, 3.1.1 and 5 client with typed channels: you receive messages by
// ranging over a channel or selecting on it, you publish by sending to a channel, and each
// publication gets exactly one Receipt.
//
//	client, err := mqtt.Dial(ctx, "mqtt://localhost:1883", nil)
//	if err != nil {
//		return err
//	}
//	defer client.Close()
//	temperatures := mqtt.Filter{Topic: "plant/+/temperature", QoS: mqtt.AtLeastOnce}
//	sub, err := client.Subscribe(ctx, temperatures)
//	if err != nil {
//		return err
//	}
//	for d, err := range sub.All(ctx) {
//		if err != nil {
//			return err
//		}
//		fmt.Printf("%s: %s\n", d.Topic, d.Payload)
//	}
//
// # Channels
//
// The library closes each channel that it gives you to receive from, once and after the last value.
// It never closes or probes your channels; do not close a channel while the library may send to it.
//
//	channel              sender      closed by                  bound
//	Client.Publishes     you         nobody; select with Done   none; blocks while Queue is full
//	PublishFrom, input   you         you; that ends the stage   yours
//	PublishFrom, output  the stage   the stage, at its end      256 to 1,024 Receipts
//	PublishBatches, in   you         you; that ends the stage   yours
//	PublishBatches, out  the stage   the stage, at its end      8 batches of Receipts
//	Requests, input      you         you; that ends the stage   yours
//	Requests, output     the stage   the stage, at its end      256
//	Publishing.Ack       the client  nobody                     yours
//	Messages             a feeder    the feeder                 none; a receive acks the message
//	Deliveries           a feeder    the feeder                 256
//	Batches              a feeder    the feeder                 none; a Batch needs its Ack
//	Latest               a feeder    the feeder                 the newest N, acked on arrival
//	Decode[T]            a feeder    the feeder                 256
//	Merge                feeders     the last of them           none; each message needs its Ack
//	States               the client  the client, when ctx ends  1; an unread State is replaced
//	Online, Done         nobody      the client                 levels: closed or open
//
// A channel with the bound "none" is unbuffered, as is Latest. A feeder is the goroutine that sends
// to one receive channel. Queue is a field of Options, as are ReceiveBytes and MaxUnread, which
// bound all inbound messages together. A stage is the goroutine of one call of PublishFrom,
// PublishBatches or Requests. The output of PublishFrom buffers Window+Queue Receipts, at least 256
// and at most 1,024. A stage that holds Window+Queue messages or requests, or 1,024 batches, stops
// reading its input. Receipts that do not fit into an Ack channel wait in a queue without bound,
// and other channels are not delayed.
//
// Receive channels close when the client or their Subscription ends. After a range loop, Err
// returns the reason. A client has at most three goroutines, plus one for each receive channel or
// stage in use, one for the replies to requests, one for each Ack channel that is full, one while
// the log handler runs, and one while packets overtake a slow commit of the Store. Close returns
// when all of them have ended, but does not wait for ever for code of yours that does not return:
// its error then names that code.
//
// # Errors
//
// Each failure is reported in one place: the return value, Receipt.Err, State.Err or Err. The error
// of a publication tells the fate of its message:
//
//	error             the message
//	nil               QoS 0 was written to the connection; QoS 1 has its PUBACK, QoS 2 its PUBCOMP
//	ErrNotSent        it was not sent and never will be; you can publish it again
//	ErrUnconfirmed    it may have arrived
//	ErrKept           the client ended first; the next client with the Store sends or completes it
//	ErrRefused        the broker refused it (MQTT 5)
//	*DowngradedError  it arrived with a lower QoS than requested
//
// Errors of this package wrap their reason: use errors.Is and errors.As. ErrClosed, which means
// that the client has ended, wraps net.ErrClosed. A refused connection is a *ConnectError that
// wraps its code, so that errors.Is(err, mqtt.NotAuthorized) finds the reason. A WebSocket server
// that answers with a status other than 101 causes an *HTTPError. Refused topic filters cause a
// *RefusedError. Use errors.As to find errors of crypto/tls, crypto/x509 and package net. A call
// with a wrong argument returns an error that names the field and the limit, before anything is
// sent.
//
// If the broker breaks the standard, the client closes the connection at once, without DISCONNECT.
// State.Err and the calls that fail with the connection have the error. The session continues with
// the next connection.
//
// Retryable tells whether trying again can help. It judges an error of Options.Prepare or
// Options.DialContext by the errors that it wraps.
//
// # Connections
//
// Before each dial the client calls Options.Prepare, which may change user name, password, TLS
// configuration, HTTP headers, will and URL of the Attempt. If it returns an error, the attempt
// fails. After a failure the client tries again, at growing intervals, until it is closed. With
// Options.NoReconnect the first failure, or the end of the first connection, ends the client:
// publications end at once, the receive channels hand over the messages that have arrived and
// close, then Done is closed, and Err has the reason.
//
// A dead connection is noticed within Options.KeepAlive and Options.PingTimeout together, whatever
// is being sent. While reading is paused, it is noticed when reading goes on.
//
// # Order and delivery
//
// Publications are sent in the order in which they were accepted. With KeepSession, the
// publications in flight when a connection ends are sent again on the next one, in the same order,
// with their identifiers and DUP. Without KeepSession, they end with the connection. With Window 1,
// publications also arrive in that order, even after a reconnect.
//
// Each Subscription receives its messages in order of arrival. The acks of each QoS are sent in
// order of arrival too, whatever the order of the calls to Ack. Therefore, a message without an ack
// holds back the acks of all later messages, even in other Subscriptions. A broker stops sending
// QoS 1 and 2 when it reaches its limit of unacknowledged messages (mosquitto 2.0.11: 20, and up to
// 20 more for each ack). Give a slow consumer its own Client, or put a message back with
// Delivery.Requeue. The log and Stats.OldestUnacked tell when a delivery holds back others for
// longer than Options.SlowConsumer. A message at QoS 1 or 2 is never dropped for lack of room. When
// more than Options.MaxUnread waits, reading pauses. When more than Options.ReceiveBytes of QoS 0
// waits, the oldest QoS 0 messages are dropped, and Stats.Dropped counts them.
//
// No consumer can block the client. While a consumer sleeps, the client still pings, publishes,
// sends Receipts and delivers messages to the other consumers, up to Options.MaxUnread. Close
// always works. Beyond MaxUnread reading pauses. When it has paused for a second, calls that wait
// for the broker end with ErrBehind, so that a consumer that publishes goes on and takes messages.
//
// # Subscriptions
//
// Subscribe waits until the broker has granted all filters. Declare returns at once, online or not.
// Drain ends a Subscription after its messages have been received; Unsubscribe acks and drops the
// messages that nobody has received. The filters $share/group/f, $queue/f and $exclusive/f receive
// the messages that match f. Some brokers change topics: RabbitMQ delivers a.b as a/b, which the
// filter a.b does not match. Such messages go to the client's own channels.
//
// # Requests
//
// On MQTT 5, Request sends a request and waits for its reply (section 4.10), Requests does so for a
// channel of requests, and Serve answers them. All replies to a client come to one Subscription,
// which the first request makes and which every connection restores. Its topic is
// OptionsV5.ReplyTopic, or else the response information that the broker has announced at the first
// connection, or else reply/ and the client identifier; a slash and 16 digits follow, which are
// random, or with KeepSession a hash of the client identifier. The broker must allow the client to
// subscribe to it, and allow the responder to publish to it. Requests are told from one another by
// their correlation data.
//
// A request that the broker has acknowledged waits for its reply, also while the client connects
// again. It ends with ErrUnconfirmed and ErrSessionLost if the broker did not keep the session, so
// set KeepSession where connections break. A broker does not tell when it drops a request or a
// reply for another reason, so give each request an end: a context with a deadline, or for Requests
// an Expiry.
//
// # Sessions
//
// With Options.KeepSession the session outlives the connection; with a Store (NewMemoryStore) it
// outlives the client, and with the store of flow/logstore the process. The Store holds the
// accepted publications that have not ended, in order, and the identifiers of received QoS 2
// messages. A packet that depends on a change of the session is sent only when the Store has that
// change. A batch of packets takes one commit. PINGREQ, SUBSCRIBE and the ack of a QoS 1 message
// depend on no change, and do not wait for a slow commit. Open resumes the stored publications:
// Stats counts them, Flush waits for them, Options.Ack gets their Receipts, and they are sent
// before all new ones.
//
// Messages that wait in a kept session before anyone subscribes stay unacknowledged for the
// Subscription that claims them later, also in another process. The client takes nothing out of a
// kept session that it did not put there: a Subscribe that ends with an error leaves the broker's
// subscriptions as they were.
//
// A publication is in memory when the send on Publishes returns, and an Ack is stored some time
// after the call. Sync returns when the Store has both; after that, killing the process loses
// neither. (A message received from Messages is acked a moment later, so Sync may miss that ack.) A
// program that publishes the messages it receives calls Ack after the Receipt, or after Sync. If
// the Store cannot store a publication, the publication ends with ErrNotSent and the reason. The
// client then reconnects, because it sends no QoS 1 or 2 message before the Store has it.
//
// # Further reading
//
// Values that travel through channels, such as Delivery and Receipt, are aliases, and their
// comments list the fields and methods. Package frames documents the types of the standard, package
// flow the interface of a Store, and stream/streamtest is a scripted broker for tests.
package mqtt

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"iter"
	"log/slog"
	"net"
	"time"

	"github.com/jpillora/backoff"

	"github.com/go-millrace/mqtt/flow"
	"github.com/go-millrace/mqtt/frames"
	"github.com/go-millrace/mqtt/stream"
)

// Types that the standard defines.
type (
	// Version is V31, V311 or V5, the protocol level in CONNECT (section 3.1.2.2).
	//
	//	String() string
	Version = frames.Version

	// QoS is AtMostOnce, AtLeastOnce or ExactlyOnce (section 4.3).
	//
	//	String() string
	QoS = frames.QoS

	// Message is an application message (section 3.3). After publishing a message, do not write to
	// its payload before the Receipt. A received payload may share memory with other messages.
	//
	//	Topic    string            1 to 65,535 bytes, without wildcards
	//	Payload  []byte            any bytes, or none
	//	QoS      QoS
	//	Retain   bool              the broker keeps the message; received: it was kept
	//	Properties  *Properties    of MQTT 5; nil is none
	//	Clone() Message            a copy with a payload of its own
	//	Validate(Version) error    an *InvalidError if the message cannot be sent
	Message = frames.Message

	// Filter is a topic filter and the highest QoS requested for its messages (section 3.8.3). The
	// client compares it with the topics that the broker sends. RabbitMQ delivers a.b as a/b, so
	// use the filter a/b there.
	//
	//	Topic  string              1 to 65,535 bytes; may have wildcards, or one of the forms
	//	                           $share/group/f, $queue/f, $exclusive/f
	//	QoS    QoS
	//	NoLocal            bool    MQTT 5: no messages that this client publishes
	//	RetainAsPublished  bool    MQTT 5: Retain is as the publisher has set it
	//	RetainHandling  frames.RetainHandling    MQTT 5: SendRetained, SendRetainedIfNew or
	//	                           SendNoRetained
	//	Match(topic string) bool   whether the filter matches; see the function Match
	//	String() string            the topic, the QoS and the options
	//	Validate(Version) error    an *InvalidError if the filter cannot be sent
	Filter = frames.Filter

	// Properties are the properties of a message on MQTT 5 (section 3.3.2.3). Do not write to them
	// before the Receipt; received Properties may be shared by several messages.
	//
	//	Expiry         time.Duration    how long the message is worth sending; 0 is for ever. It is
	//	                                rounded up to seconds, at most 4,294,967,295 s, and works on
	//	                                every version while the message waits in the client
	//	Since          time.Time        when Expiry began; zero is at acceptance. It is set in a
	//	                                received message, so one that is passed on counts down
	//	ContentType    string
	//	ResponseTopic  string
	//	Correlation    []byte           correlation data; nil is none
	//	Text           bool             payload format indicator: the payload is UTF-8
	//	User           []UserProperty   in order, names may be repeated
	//	Subscriptions  []uint32         subscription identifiers; only received, never sent
	//	Get(name string) (value string, ok bool)             the first user property of the name
	//	Left(now time.Time) (left time.Duration, ok bool)    the rest of Expiry
	Properties = frames.Properties

	// UserProperty is a name and a value that the sender chooses (section 3.3.2.3.7).
	//
	//	Name, Value  string    at most 65,535 bytes each
	UserProperty = frames.UserProperty

	// ReasonCode is the result of a request, with the values of MQTT 5 in all versions. From 0x80
	// on it says why a broker refused. It is an error; compare it with errors.Is. Package frames
	// has a constant for each code.
	//
	//	Error() string    the name that the standard uses
	ReasonCode = frames.ReasonCode
)

// Versions, QoS levels, ways of RetainHandling, some reason codes, and the buckets of a Histogram.
const (
	V31  = frames.V31
	V311 = frames.V311
	V5   = frames.V5

	AtMostOnce  = frames.AtMostOnce
	AtLeastOnce = frames.AtLeastOnce
	ExactlyOnce = frames.ExactlyOnce

	Block       = flow.Block
	Refuse      = flow.Refuse
	EvictOldest = flow.EvictOldest

	SendRetained      = frames.SendRetained
	SendRetainedIfNew = frames.SendRetainedIfNew
	SendNoRetained    = frames.SendNoRetained

	NoMatchingSubscribers       = frames.NoMatchingSubscribers
	UnspecifiedError            = frames.UnspecifiedError
	ImplementationSpecificError = frames.ImplementationSpecificError
	UnsupportedProtocolVersion  = frames.UnsupportedProtocolVersion
	ClientIdentifierNotValid    = frames.ClientIdentifierNotValid
	ServerUnavailable           = frames.ServerUnavailable
	BadUserNameOrPassword       = frames.BadUserNameOrPassword
	NotAuthorized               = frames.NotAuthorized
	SessionTakenOver            = frames.SessionTakenOver
	TopicNameInvalid            = frames.TopicNameInvalid
	QuotaExceeded               = frames.QuotaExceeded
	PayloadFormatInvalid        = frames.PayloadFormatInvalid

	HistogramBuckets = stream.HistogramBuckets
	HistogramSchema  = stream.HistogramSchema
	HistogramFirst   = stream.HistogramFirst
)

// Types of the library.
type (
	// Attempt describes one dial, for Options.Prepare. These fields may be changed:
	//
	//	URL       *url.URL     the endpoint; not its scheme
	//	Username  string
	//	Password  []byte
	//	TLS       *tls.Config  with mqtts and wss
	//	Header    http.Header  with ws and wss
	//	Will      *Message
	//
	// These are for information:
	//
	//	Endpoint  string   the URL without user, password and query
	//	Version   Version
	//	Number    int      of the attempt since the last connection
	//	LastErr   error    of the attempt before
	Attempt = stream.Attempt

	// Delivery is a Message that you acknowledge with Ack, from any goroutine and in any order.
	//
	//	Topic, Payload, QoS, Retain, Properties     the fields of Message
	//	Duplicate  bool                 the DUP flag
	//	ID         uint16               the packet identifier; 0 at QoS 0
	//	Ack()                           acknowledges the message; further calls do nothing
	//	Reject(code ReasonCode, reason string)    refuses the message on MQTT 5, in place of Ack: the
	//	                                broker drops it. The codes are UnspecifiedError,
	//	                                ImplementationSpecificError, NotAuthorized,
	//	                                TopicNameInvalid, QuotaExceeded, PayloadFormatInvalid
	//	Reply(payload []byte) (Message, bool)    a message for the response topic of a request
	//	Requeue(after time.Duration)    puts the message back at the end of its inbox, for later
	//	Clone() Message                 a copy of the message that you may keep
	//	Validate(Version) error         of Message
	Delivery = stream.Delivery

	// Batch is a []Delivery that is acknowledged as a whole. Every []Delivery converts to it.
	//
	//	Ack()    acknowledges all deliveries, each at its own client
	Batch = stream.Batch

	// Publishing is a value for Client.Publishes. It embeds its message: Publishing{Message: m}.
	//
	//	Topic, Payload, QoS, Retain, Properties     the fields of Message
	//	Tag  any                        is repeated in the Receipt
	//	Ack  chan<- Receipt             gets the Receipt; nil means Options.Ack
	//	Clone, Validate                 the methods of Message
	Publishing = stream.Publishing

	// Receipt is the result of a publication.
	//
	//	Topic, Payload, QoS, Retain, Properties     the fields of Message
	//	Tag  any                        of the Publishing
	//	ID   uint16                     the packet identifier; 0 if the message never got one
	//	Code ReasonCode                 of the ack on MQTT 5: Success, or NoMatchingSubscribers
	//	Err  error                      nil, or the fate of the message; see Errors above
	//	Clone, Validate                 the methods of Message
	Receipt = stream.Receipt

	// Receipts are the Receipts of a batch of PublishBatches. They refer to the slice of the batch,
	// so change the slice only when you have finished with them:
	//
	//	Len() int                       the number of messages
	//	Err() error                     nil if each Receipt is without an error, else the first error
	//	At(i int) Receipt               of message i
	//	All() iter.Seq2[int, Receipt]   with the index of each message
	Receipts = stream.Receipts

	// Reply is the result of a request of Client.Requests. The client has acked the reply, so Ack,
	// Reject and Requeue do nothing.
	//
	//	Topic, Payload, QoS, Retain, Properties, Duplicate, ID     the fields of Delivery
	//	Ack, Reject, Reply, Requeue, Clone, Validate   the methods of Delivery
	//	Tag  any      of the Publishing
	//	Err  error    nil, or why there is no reply; then the fields of Delivery are empty
	Reply = stream.Reply

	// State is the state of the connection.
	//
	//	Online    bool
	//	Resumed   bool       the broker had the session (section 3.2.2.2); never on 3.1
	//	Attempt   int        failed attempts since the last connection
	//	Err       error      why the client is not online
	//	Since     time.Time  of the change to this State
	//	Next      time.Time  of the beginning of the next attempt; in the past while the attempt is
	//	                     under way; zero while online, and if no attempt follows
	//	Version   Version    of the last connection; 0 before the first
	//	Server    *Server    on MQTT 5 and while online: the limits of the broker
	//	Endpoint  string     of the last connection, without user, password and query
	State = stream.State

	// Server has the values that a broker has announced in its CONNACK (MQTT 5, section 3.2.2.3). A
	// property that the CONNACK does not have has its default.
	//
	//	SessionExpiry       time.Duration    how long the session is kept; negative is for ever
	//	ReceiveMaximum      int              QoS 1 and 2 publications that it takes at a time
	//	MaximumQoS          QoS
	//	MaximumPacket       int              bytes of the largest packet that it takes
	//	TopicAliases        int
	//	Retain              bool             it retains messages
	//	Wildcards           bool             it supports wildcards in filters
	//	SubscriptionIDs     bool             it supports subscription identifiers
	//	Shared              bool             it supports shared subscriptions
	//	KeepAlive           time.Duration    in force; 0 is off
	//	ClientID            string           in force
	//	ResponseInformation string
	//	ServerReference     string           another broker that may be used
	//	Reason              string           the reason string
	//	AuthMethod          string
	//	User                []UserProperty
	Server = stream.Server

	// Exchange is the client's side of one enhanced authentication (MQTT 5, section 4.12), such as
	// SCRAM. A new one is made for each connection and each re-authentication. A panic in a method
	// counts as an error.
	//
	//	Method() string                    the authentication method
	//	First() ([]byte, error)            the first data; nil is none
	//	Answer(ctx context.Context, challenge []byte) ([]byte, error)
	//	Done(data []byte) error            the last word on whether the broker proved itself
	Exchange = stream.Exchange

	// Redirect says that a broker refers to another one (MQTT 5, section 4.11).
	//
	//	Reference  string    the Server Reference as it came; may be empty
	//	From       string    the URL of the broker, without user, password and query
	//	Permanent  bool      ServerMoved, and not UseAnotherServer
	//	Secure     bool      From uses TLS
	//	Hop        int       1 for the first redirect of an attempt
	Redirect = stream.Redirect

	// Farewell says how Client.ShutdownWith ends the connection.
	//
	//	PublishWill  bool             the broker publishes the will: by reason code 0x04 on MQTT 5
	//	                              (section 3.14.2.1), by a close without DISCONNECT before
	//	HangUp       bool             no DISCONNECT, so that every broker publishes the will; mochi
	//	                              does not publish it for 0x04
	//	EndSession   bool             the broker's session ends with the connection, and the Store is
	//	                              emptied
	//	Expiry       time.Duration    with KeepSession: a new session expiry interval, 1 to
	//	                              4,294,967,294 s, rounded up to seconds; 0 leaves it
	//	Reason       string           the reason string
	//	User         []UserProperty
	Farewell = stream.Farewell

	// OptionsV5 are the Options that only MQTT 5 has.
	//
	//	SessionExpiry   time.Duration     with KeepSession: how long the broker keeps the session after
	//	                                  the connection ends, 1 to 4,294,967,294 s, rounded up to
	//	                                  seconds; 0 is for ever (section 3.1.2.11.2)
	//	ReceiveMaximum  int               QoS 1 and 2 messages that the broker may send before their
	//	                                  exchange ends, 1 to 65,535; 0 is 256 (section 3.1.2.11.3).
	//	                                  Messages in excess are accepted, counted in Stats.Surplus
	//	                                  and logged once, since mosquitto sends them
	//	TopicAliases    int               topic aliases that each side may use, at most 65,535; 0 is
	//	                                  16 for the client and none for the broker, negative is
	//	                                  none (section 3.3.2.3.4). The client uses them for topics
	//	                                  of 16 bytes and more. mochi 2.7.9 delivers messages of a
	//	                                  kept session under wrong topics if it may use aliases
	//	Expiry          time.Duration     the message expiry interval of publications that have none;
	//	                                  0 is for ever. It works on every version while a message
	//	                                  waits in the client
	//	LowerQoS        bool              sends a message above the broker's Maximum QoS at that QoS;
	//	                                  its Receipt has a *DowngradedError
	//	Lossy           bool              on 3.1 and 3.1.1, sends messages, filters and the will
	//	                                  without the properties and options that these versions lack,
	//	                                  except NoLocal; without it they end with a *VersionError
	//	WillDelay       time.Duration     how long the broker waits with the will; needs KeepSession,
	//	                                  and is at most SessionExpiry (section 3.1.3.2.2)
	//	User            []UserProperty    of CONNECT
	//	Authenticate    func(context.Context) (Exchange, error)    makes an enhanced authentication
	//	Redirect        func(context.Context, Redirect) (url string, err error)    decides where to
	//	                                  connect when the broker refers to another one; nil does not
	//	                                  follow. With KeepSession it needs SharedSession
	//	ReplyTopic      string            the beginning of the topic for replies to requests; see
	//	                                  Requests above
	OptionsV5 = stream.OptionsV5

	// Stats are counters since Open, and the values of the moment. A publication from the Store
	// counts as accepted at Open.
	//
	//	Sent           uint64         PUBLISH packets sent, retransmissions included
	//	Acknowledged   uint64         QoS 1 and 2 publications whose exchange is complete
	//	Received       uint64         PUBLISH packets received, second copies included
	//	Dropped        uint64         QoS 0 messages dropped for lack of room (ReceiveBytes)
	//	Discarded      uint64         messages acked and dropped: unclaimed, by Unsubscribe, or
	//	                              by the end of Latest with the client
	//	Superseded     uint64         messages acked and dropped by Latest for newer ones
	//	TooLarge       uint64         messages above MaxPacket, acked and dropped
	//	GivenUp        uint64         publications given up (Options.GiveUp)
	//	Surplus        uint64         messages that came in excess of ReceiveMaximum (MQTT 5)
	//	NotQueued      uint64         publications refused since the queue was full (Full)
	//	Evicted        uint64         queued publications that made room for newer ones (Full)
	//	LateReplies    uint64         replies for which no request waits; they are acked
	//	Unreported     uint64         publications that failed without an Ack channel
	//	BytesIn        uint64         bytes of MQTT packets received, without CONNACK
	//	BytesOut       uint64         bytes of MQTT packets sent, without CONNECT
	//	Writes         uint64         batches handed to the connection
	//	Reads          uint64         batches received from the connection
	//	Connections    uint64         connections established
	//	Attempts       uint64         connection attempts begun
	//	Lost           uint64         connections lost; the end of the client does not count
	//	Resent         uint64         the part of Sent with the DUP flag
	//	NotSent        uint64         publications that ended with ErrNotSent, but not before the
	//	                              client had accepted or refused them
	//	Unconfirmed    uint64         publications that ended with ErrUnconfirmed
	//	Failed         uint64         publications that ended with any other error: ErrRefused,
	//	                              ErrKept, DowngradedError
	//	HandedOver     uint64         messages sent to a channel or passed to a range loop; All
	//	                              takes up to 64, of which the first counts at once, the
	//	                              others with the last
	//	Requeued       uint64         calls of Requeue that had an effect
	//	Commits        uint64         commits of the Store that succeeded
	//
	//	Queued         int            publications accepted and not yet sent
	//	QueuedBytes    int            their bytes, counted as for QueueBytes; 0 without it
	//	OldestQueued   time.Duration  how long ago the oldest of them was accepted
	//	InFlight       int            QoS 1 and 2 publications that await their ack
	//	OldestInFlight time.Duration  how long ago the oldest of them was accepted
	//	Window         int            how many may await it on the last connection
	//	Receipts       int            Receipts that wait for room in their channels
	//	Unacked        int            QoS 1 and 2 deliveries whose ack was not yet sent
	//	OldestUnacked  time.Duration  the age of the oldest of them
	//	Inbox          int            messages received and not yet handed over
	//	InboxBytes     int            their bytes, counted as for ReceiveBytes
	//	UnreadBytes    int            the part at QoS 1 and 2, bounded by MaxUnread; without Latest
	//	InboxMemory    int            the bytes of memory that they hold
	//	Unclaimed      int            messages in Inbox that no Subscription claims
	//	Paused         bool           reading waits for consumers
	//	PausedFor      time.Duration  how long it has waited
	//	Behind         bool           calls end with ErrBehind
	//	Subscribed     int            Subscriptions granted or asked for
	//	Online         bool
	//	StoreWaiting   time.Duration  how long a commit to the Store has been under way
	//	StoreFailing   bool           the last commit to the Store failed and will be repeated
	Stats = stream.Stats

	// Timings are the histograms of Client.Timings. Recording begins with the first call of that
	// method. From then on it takes 8 KB of memory; before, it costs nothing. Durations that began
	// before that call are not recorded.
	//
	//	Published   [3]Histogram  publications that ended without an error, by QoS: from their
	//	                          acceptance to their Receipt
	//	HandedOver  Histogram     messages that consumers received: from the read that returned the
	//	                          message to the hand-over; Requeue begins the time anew
	//	Acked       Histogram     QoS 1 and 2 deliveries that their consumer acknowledged or
	//	                          rejected on the same connection: from the hand-over to the
	//	                          ack; 0 for Messages and Latest, which ack each message at
	//	                          its hand-over
	//	Connect     Histogram     connection attempts that succeeded: from the beginning of the
	//	                          attempt, with the endpoints that failed first, to CONNACK
	//	Commit      Histogram     commits of the Store that succeeded
	//	Ping        Histogram     PINGREQ packets that were answered: until PINGRESP
	Timings = stream.Timings

	// Histogram counts durations in buckets that are a quarter of an octave wide. The first bucket
	// counts everything up to 2^-20 s, which is 0.95 µs, and the last everything above 861 s. A
	// Prometheus native histogram with schema HistogramSchema has the same buckets; there the first
	// bucket has the index HistogramFirst. In an OpenTelemetry exponential histogram with scale
	// HistogramSchema the index of each bucket is lower by 1.
	//
	//	Count    uint64                          of durations
	//	Sum      time.Duration                   of all durations
	//	Buckets  [HistogramBuckets]uint64        the number of durations in each bucket
	//	Bound(i int) time.Duration               the longest duration of bucket i; 0 if i is below
	//	                                         0, the longest of all from HistogramBuckets-1 on
	//	Native() iter.Seq2[int, uint64]          native index and count of the buckets in use
	//	Quantile(q float64) time.Duration        an estimate, wrong by 19 % at most; q is 0 to 1
	//	Mean() time.Duration
	//	Sub(earlier *Histogram)                  subtracts an earlier state of the histogram
	Histogram = stream.Histogram

	// Observer has functions that a client calls for its events. A nil function is not called. A
	// slice has one or more events. The slice, and the payloads and properties in it, are valid
	// only during the call: do not write to them, and clone the parts that you keep.
	//
	// The functions run on the goroutines of the client. They must return soon and must not wait
	// for the client: a call that blocks stops publishing, keep alive and acks. Calls of Delivered
	// may overlap, and so may calls of Warned; calls of each other function do not. During a call
	// the client holds no lock for which a method waits. It recovers a panic, and logs the first one
	// at Error.
	//
	//	Published  func([]Published)     publications have ended; their Receipts follow. Those that
	//	                                 an argument or ctx ends before the client has accepted
	//	                                 or refused them are not shown
	//	Delivered  func([]Delivered)     messages were handed over: sent to a channel, or passed to a
	//	                                 range loop; for All and AllBatches it runs in that loop
	//	Acked      func([]Acked)         consumers have acknowledged or rejected QoS 1 and 2 deliveries
	//	                                 of the present connection; perhaps before Delivered, if a
	//	                                 consumer is quick
	//	Attempt    func(Attempted)       a connection attempt has ended, but not by Close
	//	Warned     func(slog.Record)     a record was logged at Warn or above; it is called for any
	//	                                 level of Options.Logger, and without a Logger too
	Observer = stream.Observer

	// Published is a publication that has ended, for Observer.
	//
	//	Receipt   Receipt        without the Tag of a request
	//	Accepted  time.Time      when the client accepted the message, or refused it; for a
	//	                         publication from a Store, when the client began
	//	Took      time.Duration  from Accepted to the end of the publication
	//	Topic, Payload, QoS, Retain, Properties, Tag, ID, Code, Err    the fields of Receipt
	//	Clone, Validate                                                the methods of Message
	Published = stream.Published

	// Delivered is a message that was handed over to a consumer, for Observer.
	//
	//	Topic, Payload, QoS, Retain, Properties    the fields of Message
	//	Clone, Validate                            its methods
	//	ID         uint16         the packet identifier; 0 at QoS 0
	//	Duplicate  bool           the DUP flag
	//	Received   time.Time      when the message was read, or put back by Requeue
	//	Waited     time.Duration  from Received to the hand-over
	Delivered = stream.Delivered

	// Acked is a QoS 1 or 2 delivery that its consumer has acknowledged or rejected, for Observer.
	// Its ack is sent when all earlier deliveries are acknowledged too.
	//
	//	Topic       string
	//	QoS         QoS
	//	ID          uint16
	//	Code        ReasonCode     Success, or the code of Reject
	//	HandedOver  time.Time      to the consumer
	//	Took        time.Duration  from HandedOver to the ack; 0 for Messages and Latest
	Acked = stream.Acked

	// Attempted is a connection attempt that has ended, for Observer. An attempt tries the
	// endpoints one after another.
	//
	//	Endpoint  string         of the new connection, without user, password and query; after a
	//	                         failure, of the last connection
	//	Version   Version        of the new connection; 0 after a failure
	//	Resumed   bool           the broker had the session
	//	Number    int            1 for the first attempt since the last connection
	//	Began     time.Time
	//	Took      time.Duration  from Began to CONNACK, or to the failure
	//	Err       error          nil for a new connection; otherwise it names endpoints and phases
	Attempted = stream.Attempted

	// SubscriptionInfo describes a Subscription at one moment, for Client.Subscriptions.
	//
	//	Filters        []Filter
	//	Granted        []QoS          by the broker, one for each filter; 0 for a filter that is
	//	                              refused or not answered yet
	//	Refused        []Filter       by the broker in its last answers
	//	Asking         bool           the broker has not answered every filter yet
	//	Leaving        bool           Unsubscribe or Drain waits for the broker's UNSUBACK
	//	Inbox          int            messages received and not yet handed over; without Latest
	//	InboxBytes     int            their bytes, counted as for ReceiveBytes
	//	Unacked        int            QoS 1 and 2 deliveries of this connection that no consumer
	//	                              has acknowledged, including the messages in Inbox
	//	OldestUnacked  time.Duration  the age of the oldest of them
	SubscriptionInfo = stream.SubscriptionInfo

	// Event is a Delivery with its decoded value.
	//
	//	Topic, Payload, QoS, Retain, Properties, Duplicate, ID     the fields of Delivery
	//	Ack, Reject, Reply, Requeue, Clone, Validate   the methods of Delivery
	//	Value  T
	//	Err    error    of the Decoder; the Delivery needs its Ack all the same
	Event[T any] = stream.Event[T]

	// Store keeps a session after its client has ended. Write one of your own only if
	// NewMemoryStore, flow/logstore and flow/boltstore do not fit, and test it with flow/storetest.
	//
	//	Attach(clientID string) (flow.Snapshot, error)    opens the Store and returns its content
	//	Commit([]flow.Change) error                       stores all the changes or none
	//	Detach() error                                    ends the use; the content stays
	Store = flow.Store

	// Full is the type of Options.Full: Block, Refuse or EvictOldest.
	Full = flow.Full

	// Retry configures how unacknowledged packets are sent again on a live connection. A PUBLISH
	// waits Initial + k*size/Bandwidth, where k is 1 at first and is multiplied by Factor each
	// time. Other packets wait Initial, doubled each time.
	//
	//	Initial    time.Duration                      1 s to 1,024 s; 0 is 4 s
	//	Max        time.Duration                      Initial to 1,024 s; 0 is 1,024 s
	//	Bandwidth  float64                            bytes per second; 0 is 10,000
	//	Factor     float64                            1 or more; 0 is 2
	//	Publish(size, attempt int) time.Duration      how long a PUBLISH waits
	//	Control(attempt int) time.Duration            how long another packet waits
	//	WithDefaults() (Retry, error)                 with the defaults, and checked
	Retry = flow.Retry
)

// Typed errors. Find them with errors.As.
type (
	// ConnectError comes from Dial and State.Err when the broker refuses the connection. It wraps
	// Code, so errors.Is(err, NotAuthorized) tells the reason. After a wrong login, the broker sends
	// NotAuthorized or BadUserNameOrPassword, as it chooses. Mend the credentials or the client
	// identifier; the client itself tries again.
	//
	//	Code             ReasonCode        of the CONNACK (section 3.2.2.3)
	//	Reason           string            on MQTT 5: the reason string of the broker
	//	ServerReference  string            on MQTT 5: another broker
	//	User             []UserProperty    on MQTT 5
	ConnectError = stream.ConnectError

	// RefusedError comes from Subscribe, and from Subscription.Err after a reconnect, when the
	// broker refuses filters, or when the connection cannot carry them. It wraps Codes and Cause.
	// Ask for filters that the user may read.
	//
	//	Filters  []Filter        the refused ones
	//	Codes    []ReasonCode    one for each filter
	//	Reason   string          the reason string of the broker, on MQTT 5
	//	Cause    error           why the SUBSCRIBE was not sent, else nil
	RefusedError = stream.RefusedError

	// DowngradedError comes as Receipt.Err when a message has arrived with a lower QoS: the broker
	// has answered a QoS 2 PUBLISH with PUBACK, or takes no higher QoS (OptionsV5.LowerQoS).
	//
	//	ID   uint16    the packet identifier; 0 at QoS 0
	//	QoS  QoS       with which it has arrived
	DowngradedError = stream.DowngradedError

	// PoisonError comes inside ErrUnconfirmed when the broker has closed each connection on which a
	// message was sent, so that the client goes on without it (Options.GiveUp). The message may
	// have arrived. It wraps Err.
	//
	//	ID      uint16    the packet identifier, which is not used again while the session lives
	//	Topic   string
	//	Closes  int       how many connections the broker has closed in a row
	//	Err     error     the end of the last one
	PoisonError = stream.PoisonError

	// RefusalError comes as Receipt.Err when the broker refuses a message (MQTT 5). It wraps
	// ErrRefused and Code.
	//
	//	Code    ReasonCode
	//	Reason  string            the reason string
	//	User    []UserProperty
	RefusalError = stream.RefusalError

	// LimitError comes inside ErrNotSent, ErrUnconfirmed or a RefusedError when a message or a
	// filter is beyond a limit that the broker has announced (MQTT 5). State.Server has the limits.
	//
	//	Field  string    packet size (in bytes), QoS, or retain (0 or 1)
	//	Value  int
	//	Limit  int
	LimitError = stream.LimitError

	// VersionError comes inside ErrNotSent, ErrUnconfirmed or a RefusedError when the version of
	// the connection lacks a property or an option. OptionsV5.Lossy leaves it out instead.
	//
	//	Field       string    as the standard names it
	//	Need, Have  Version
	VersionError = stream.VersionError

	// DisconnectError comes as State.Err when the broker ends the connection with a DISCONNECT
	// (MQTT 5, section 3.14). It wraps Code.
	//
	//	Code             ReasonCode
	//	Reason           string            the reason string
	//	ServerReference  string            another broker
	//	User             []UserProperty
	DisconnectError = stream.DisconnectError

	// HTTPError comes from Dial and State.Err when a WebSocket server does not switch protocols.
	// Check the path and the token.
	//
	//	Status  int       the HTTP status
	//	Body    string    the first 512 bytes of the answer, without secrets of the request
	HTTPError = stream.HTTPError

	// OptionError comes from any call with an option, an argument or a URL that cannot be used.
	// Nothing was sent; change the program.
	//
	//	Field   string    the option or argument
	//	Reason  string    the rule or the limit
	OptionError = stream.OptionError

	// InvalidError comes for a topic, a filter or a message that the standard forbids. Nothing was
	// sent; change the message.
	//
	//	Field   string    as the standard names it: topic, QoS, filter
	//	Reason  string    the rule
	//	Limit   int       the largest value allowed; 0 if the rule is not a limit
	//	Value   int       the value of the argument, in the unit of Limit
	InvalidError = frames.InvalidError

	// ProtocolError comes as State.Err when the broker breaks the standard. The connection is
	// closed, and the client connects again. Report it to the maker of the broker.
	//
	//	Type    frames.Type         of the packet; 0 if unknown
	//	Reason  string              the rule
	//	Code() frames.ReasonCode    the code of MQTT 5 for it
	ProtocolError = frames.ProtocolError

	// TooLargeError comes as State.Err for a packet above Options.MaxPacket that is no PUBLISH, and
	// the connection ends. Raise MaxPacket.
	//
	//	Size   int                  of the packet in bytes
	//	Limit  int                  in bytes
	//	Code() frames.ReasonCode    the code of MQTT 5 for it
	TooLargeError = frames.TooLargeError

	// OwnerError comes from Open when the Store holds the session of another client identifier. Use
	// one Store for each ClientID.
	//
	//	Owner  string    the client identifier of the session in the Store
	//	Asked  string    the ClientID of the Options
	OwnerError = flow.OwnerError
)

// The errors that tell the fate of a message or of the client.
var (
	// ErrClosed says that the client has ended. It wraps net.ErrClosed. Open a new client.
	ErrClosed = stream.ErrClosed

	// ErrNotSent says that the message was not sent and never will be. It can be published again.
	ErrNotSent = stream.ErrNotSent

	// ErrUnconfirmed says that the message may have arrived: it was sent, or was about to be, and
	// no ack came. Publish it again if a second copy is better than none. The exchange goes on, and
	// with a Store also in the next client, which gives a Receipt of its own.
	ErrUnconfirmed = stream.ErrUnconfirmed

	// ErrKept says that the client has ended and its Store holds the message. The next client with
	// this Store goes on with it and gives its own Receipt. Do not publish it again.
	ErrKept = stream.ErrKept

	// ErrRefused says that the broker has refused the message (MQTT 5): it did not arrive and is
	// not sent again. It comes with a *RefusalError.
	ErrRefused = stream.ErrRefused

	// ErrExpired is the reason inside ErrNotSent when a message has expired while it waited. Inside
	// ErrUnconfirmed it is the reason of a request of Requests that has expired without a reply.
	ErrExpired = stream.ErrExpired

	// ErrFull is the reason inside ErrNotSent when the queue had no room for the message and
	// Options.Full is Refuse, or when the message alone exceeds Options.QueueBytes. Wait before you
	// publish it again; Retryable is false for a message that can never fit.
	ErrFull = stream.ErrFull

	// ErrEvicted is the reason inside ErrNotSent when the message made room in the queue for a
	// newer one, since Options.Full is EvictOldest. Retryable is false, since the message would
	// displace newer ones.
	ErrEvicted = stream.ErrEvicted

	// ErrNoResponder is the error of a request that the broker has taken and that nobody gets: no
	// Subscription matches its topic (MQTT 5, reason code NoMatchingSubscribers). Some brokers,
	// such as mochi, never tell. Start the responder, and send the request again.
	ErrNoResponder = stream.ErrNoResponder

	// ErrBehind says that a call was ended because it would have waited behind messages that
	// consumers have not taken: more than Options.MaxUnread waits, and nothing was read for a
	// second. Take messages, and reading starts again. The exchange that the call began goes on, as
	// after a context that ended.
	ErrBehind = stream.ErrBehind

	// ErrSessionLost is the reason inside ErrUnconfirmed when the broker has sent PUBREC for a QoS
	// 2 message and then lost the session (CONNACK without session present, section 3.2.2.2), and
	// for a request that was acknowledged, since its reply may be lost. Publish the message again
	// if a second copy is better than none.
	ErrSessionLost = stream.ErrSessionLost
)

// Decoder decodes a message to a value.
type Decoder[T any] func(Message) (T, error)

// Encoder encodes a value as a message.
type Encoder[T any] func(T) (Message, error)

// Client is one MQTT session across any number of connections. Its methods can be called from any
// goroutine.
type Client struct{ s *stream.Session }

// Client is a Publisher and a Subscriber.
var (
	_ Publisher  = (*Client)(nil)
	_ Subscriber = (*Client)(nil)
)

// Options configure Open and Dial. The zero value and nil select the defaults. Open and Dial copy
// and check the Options once; an *OptionError names the field and its limit.
type Options struct {
	// Version of the protocol. 0 is V5, or V311 at a broker that does not know V5: the client then
	// connects a second time within the same attempt, and asks for V5 again an hour later. A
	// session that the broker keeps stays with the version with which it was made. State.Version
	// tells the version in use.
	Version Version

	// ClientID names the session at the broker. On 3.1 it has 1 to 23 characters. On 3.1.1 it may
	// be empty unless KeepSession is set; the broker then assigns an identifier (section 3.1.3.1).
	// On 5 it may always be empty: the client goes on with the assigned identifier, which a Store
	// keeps.
	ClientID string

	// Username and Password have at most 65,535 bytes each (sections 3.1.3.4, 3.1.3.5). They take
	// precedence over the user name and password in the URL. Before MQTT 5, a password requires a
	// user name; an empty one without a user name counts as none. Dial fails if the broker rejects the
	// credentials. When the broker rejects the credentials of a later attempt, the next attempt
	// follows after the longest interval of Reconnect. HTTP status 401 or 403 at the opening
	// handshake of a WebSocket counts as such a rejection too.
	Username string
	Password []byte

	// Prepare, if set, is called before each dial, once for each endpoint of an attempt. The
	// Attempt is filled from the Options and the URL, and Prepare may change it: a token that
	// expires, a certificate that rotates, HTTP headers, host, path and query of a presigned URL
	// (but not its scheme), a will that differs for each connection. It is then checked like the
	// Options; an error names the field. The context ends after ConnectTimeout. If Prepare returns
	// an error, or leaves a field that cannot be used, the dial fails, and the next one follows as
	// after any other failure.
	Prepare func(context.Context, *Attempt) error

	// KeepSession asks the broker to keep the session when the connection ends (CleanSession 0,
	// section 3.1.2.4). The client keeps its own part of the session too.
	KeepSession bool

	// TrustSession relies on the broker's word that it has kept the session (section 3.2.2.2): the
	// filters that were granted on an earlier connection are not asked for again, and their
	// retained messages do not come again. Without it the client asks for its filters at every
	// connection, since a broker that was restored from an older state may lack some of them.
	// TrustSession has no effect on 3.1, whose CONNACK does not say whether the broker has the
	// session.
	TrustSession bool

	// KeepAlive is the longest silence in either direction: nine tenths of it after the last packet
	// sent (section 3.1.2.10) or received, the client sends PINGREQ. It is at most 65,535 s, in
	// whole seconds; a fraction is rounded up. 0 is a minute, negative switches keep alive off.
	KeepAlive time.Duration

	// PingTimeout is how long the broker may take to answer PINGREQ, if nothing else arrives from
	// it. Then the connection is closed. So a dead broker is noticed within KeepAlive plus
	// PingTimeout, whatever is being sent. The time begins when PINGREQ has left the send queue of
	// the operating system (Linux and macOS; elsewhere when it was written). A PINGREQ that waits
	// in a queue that does not move for PingTimeout ends the connection too. While reading is
	// paused (MaxUnread), the time begins when reading goes on. The range is 1 ms to 65,535 s; 0 is
	// KeepAlive, at most 20 s. Without KeepAlive it has no effect.
	PingTimeout time.Duration

	// ConnectTimeout bounds name lookup, dial, TLS and CONNACK together. 0 is 10 s, negative is
	// unlimited.
	ConnectTimeout time.Duration

	// WriteTimeout bounds how long a write may make no progress. 0 is 10 s, negative is unlimited.
	// A write that outlasts KeepAlive without progress for PingTimeout ends too.
	WriteTimeout time.Duration

	// Will is published by the broker when the connection ends without DISCONNECT (section
	// 3.1.2.5). Its payload has at most 65,535 bytes. MQTT 3.1 allows only ASCII in that payload,
	// but the client sends any bytes.
	Will *Message

	// TLS configures TLS for mqtts and wss. It is an error to set TLS without an endpoint of these
	// schemes. nil verifies the broker against the root certificates of the system. An empty
	// ServerName becomes the host in the URL. Without NextProtos the client negotiates no protocol
	// (ALPN); with wss it always negotiates http/1.1. A minimum version below TLS 1.2 is raised to
	// TLS 1.2.
	TLS *tls.Config

	// AnySubprotocol accepts a WebSocket server that selects no subprotocol. The standard demands
	// the subprotocol mqtt (section 6). Without this option the client rejects a server that does
	// not select it.
	AnySubprotocol bool

	// DialContext makes connections; nil is the method of net.Dialer. The argument network is tcp
	// or unix. The client adds TLS and WebSocket to the returned connection. To use a proxy, set
	// DialContext.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)

	// Fallbacks are the URLs of more endpoints, in the same form as the URL given to Open. A
	// fallback without user name and password uses the user name and password of that URL. An
	// attempt tries the endpoints in turn, each within ConnectTimeout. It begins with the endpoint
	// of the last connection, or with the URL given to Open if there was no connection. The order
	// of the other endpoints differs from client to client, so that clients that lose a broker
	// together spread over the remaining brokers. State.Endpoint tells which endpoint is in use.
	Fallbacks []string

	// SharedSession states that the endpoints are one cluster, in which all brokers have the same
	// sessions. KeepSession with Fallbacks requires it. Otherwise packet identifiers of one broker
	// would be applied to the session of another, and messages would be lost without an error.
	SharedSession bool

	// Window is how many QoS 1 and 2 publications may be in flight, 1 to 65,535. 0 is 1, which
	// keeps messages in order even when a connection is lost.
	Window int

	// Queue is how many accepted publications may wait for the window or for a connection. With a
	// longer queue PublishFrom makes larger batches. 0 is 1,024; the maximum is 1,073,741,824.
	Queue int

	// QueueBytes bounds the publications that Queue counts, in bytes. A message counts with its
	// payload, its topic, about 160 bytes and their texts if it has Properties, and 128 bytes more.
	// 0 is no limit; the minimum is 129, the size of an empty message to a topic of one byte.
	// Stats.QueuedBytes is the present number.
	QueueBytes int

	// Full is the fate of a new publication for which Queue or QueueBytes has no room. 0 is Block.
	//
	//	Block        it waits. A send to Publishes blocks, and Publish waits until its ctx ends.
	//	             The last message may exceed QueueBytes, as its size is not known before.
	//	Refuse       its Receipt says ErrNotSent and ErrFull. Stats.NotQueued counts it.
	//	EvictOldest  it is accepted, and the oldest publications in the queue make room: their
	//	             Receipts say ErrNotSent and ErrEvicted. Stats.Evicted counts them. One that
	//	             was sent, in flight or to be sent again, is not in the queue and stays. With a
	//	             Store, the commit that puts the new one removes the old ones.
	//
	// With Refuse and EvictOldest a message that alone exceeds QueueBytes is refused (ErrFull). A
	// record at Warn marks each period in which the queue is full; it ends when half is free.
	// Publications restored from a Store count and are kept, even beyond the limits, until
	// EvictOldest needs their room. PublishFrom, PublishBatches and Requests pass on no more than
	// Window+Queue messages that await their Receipts, so they may stop reading their input first.
	Full Full

	// ReceiveBytes bounds the QoS 0 messages that were received and not yet handed over, in bytes.
	// A message counts with its payload, its topic and 128 bytes more. When there is no room for a
	// message, the oldest ones are dropped; one that is larger than ReceiveBytes waits alone. 0 is
	// 16 MiB, or MaxPacket if that is more. ReceiveBytes and MaxPacket may not both be set so that
	// MaxPacket is larger.
	//
	// When half of ReceiveBytes, or 1 MiB if that is less, is in use, reading rests for up to 2 ms
	// after each read while a consumer takes messages. Messages on their way to a consumer are not
	// counted: for each channel, up to 64 messages or 64 KiB, and the buffer of Deliveries, or a
	// Batch of at most 4 MiB.
	ReceiveBytes int

	// MaxUnread bounds the QoS 1 and 2 messages that were received and not yet handed over, in
	// bytes counted as for ReceiveBytes. They are never dropped: beyond MaxUnread reading pauses,
	// and TCP holds the broker back. After a pause of a second, calls that wait for the broker end
	// with ErrBehind until reading starts again. 0 is 64 MiB, or MaxPacket if that is more.
	// MaxUnread and MaxPacket may not both be set so that MaxPacket is larger.
	MaxUnread int

	// SlowConsumer is how long a QoS 1 or 2 delivery may hold back the acks of later ones before a
	// record at Warn names its topic and its Subscription. A second record follows at ten times
	// that age, and so on; about one Subscription there is at most one record in nine times
	// SlowConsumer. 0 is 30 s, the maximum is 24 hours; negative switches the records off.
	// Stats.OldestUnacked is the age.
	SlowConsumer time.Duration

	// MaxPacket is the size of the largest packet accepted from the broker, in bytes. 0 is 1 MiB;
	// the maximum is 268,435,460. A larger PUBLISH is acknowledged and dropped without a copy in
	// memory, counted in Stats.TooLarge and logged once for each topic. Any other larger packet
	// ends the connection.
	MaxPacket int

	// Reconnect sets the intervals between connection attempts. Open copies it. nil is 100 ms,
	// doubling up to a minute, with Jitter. With Jitter an interval is randomly shortened, to half
	// at most, so that many clients do not reconnect at the same moment. Without Jitter the
	// intervals are exact. They start over after a connection that lasted ten times the wait before
	// it, or as long as the longest interval.
	Reconnect *backoff.Backoff

	// NoReconnect ends the session when its first connection ends or its first attempt fails.
	// Publications then end at once, and Err returns the reason. The receive channels hand over the
	// messages that have arrived, then they close, and Done is closed after them. Close ends the
	// wait for consumers that take no more messages.
	NoReconnect bool

	// Retry retransmits packets without an acknowledgment while the connection is up. nil leaves
	// retransmission to TCP.
	Retry *Retry

	// Store keeps the session beyond the life of the client. With nil the client keeps the session
	// in memory. A Store requires KeepSession or ClearSession.
	Store Store

	// ClearSession, with a Store and without KeepSession, ends the session that the Store holds,
	// and the broker's session with it. Each stored publication gets a Receipt with an error. The
	// Store holds nothing afterwards, and the client does not use it.
	ClearSession bool

	// GiveUp is how many times in a row the broker may close the connection at the same PUBLISH of
	// QoS 1 or 2 before the client gives the PUBLISH up: 2 or more, or 0, the default, for never.
	// Otherwise a message that the broker cannot take, such as one above its limit on MQTT 3.1.1,
	// is sent again on each connection, and nothing behind it arrives. The Receipt has
	// ErrUnconfirmed with a *PoisonError, a record at Warn names the topic, and Stats.GivenUp
	// counts.
	//
	// A close counts if no PUBACK, PUBREC or PUBCOMP came on the connection: with the end of the
	// stream, a reset, or a DISCONNECT of MQTT 5, except for codes that name another reason, such
	// as ServerShuttingDown. Such an ack begins the count anew. A timeout, a failed attempt, and a
	// close before the PUBLISH was sent change nothing. After the first close the oldest PUBLISH is
	// sent alone: after the answers to the SUBSCRIBE packets, and before any other publication, QoS
	// 0 included, until an ack comes or the PUBLISH is given up. After a PUBLISH is given up, the
	// count begins anew, and the publications behind it are sent together again. A proxy or an
	// unstable network closes in the same way, so choose GiveUp above the number of such closes
	// that you expect in a row. A message past PUBREC is never given up. The packet identifier is
	// not used again while the session lives, also with the next client of the Store; the count
	// begins anew with that client. Without KeepSession no PUBLISH is sent twice, so GiveUp has no
	// effect.
	GiveUp int

	// Ack receives the Receipts of publishings that have no Ack channel of their own, and of
	// publications recovered from Store.
	Ack chan<- Receipt

	// DiscardUnclaimed acknowledges and drops messages that no Subscription claims. Otherwise these
	// messages wait until they are taken with Messages, Deliveries or All of the client.
	DiscardUnclaimed bool

	// V5 has the options that only MQTT 5 has.
	V5 OptionsV5

	// Observer, if set, has functions that the client calls for its events: publications that
	// ended, deliveries, acks, connection attempts, and log records at Warn and above. Open copies
	// it.
	Observer *Observer

	// Logger gets connection changes at Info and packets at Debug, never a payload or a secret. nil
	// logs nothing. The log handler runs on a goroutine of its own, which exists while there are
	// records, and may call the client. When 4,096 records wait for it, further ones are dropped,
	// and a record says how many.
	Logger *slog.Logger
}

// LatestOptions say which messages Subscription.Latest keeps.
type LatestOptions struct {
	// N is how many messages are kept, at least 1; 0 is 1.
	N int

	// PerTopic keeps the newest N messages of each topic, instead of the newest N of all.
	PerTopic bool
}

// Subscription is a set of topic filters with receive channels of its own. Until Unsubscribe or
// Drain is called, the client asks for the filters at every new connection. Messages, Deliveries,
// Batches, Latest, All, AllBatches, Decode and Merge of one Subscription compete for its messages:
// use one of them.
type Subscription struct{ s *stream.Subscription }

// Messages returns a channel that acknowledges each message when the consumer receives it. A
// message is not lost before that receive, but a consumer that fails afterwards does not get it
// again. The channel is unbuffered, closed after its last value, and the same at every call.
func (s *Subscription) Messages() <-chan Message { return s.s.Messages() }

// Deliveries returns a channel of messages that the consumer acknowledges with Ack. The channel has
// a buffer of 256, is closed after its last value, and is the same at every call.
//
// At the end of the client or of the Subscription the buffer is taken back. A consumer that
// receives at that moment may get a message without the ones before it. After the end of a client
// none is lost: an ack is sent only after those of earlier messages, so a kept session delivers all
// of them again, in order.
func (s *Subscription) Deliveries() <-chan Delivery { return s.s.Deliveries() }

// Batches returns a channel of Batches of at most max deliveries, at least 1, for a consumer that
// does work for many messages at once, such as one transaction of a database. A Batch is handed
// over when it is full or has 4 MiB, counted as for ReceiveBytes, and otherwise when the time wait
// has passed since its first message was put into it; a wait of 0 is at once. While nobody receives
// a Batch that is not full, further messages are added to it. The consumer may keep a Batch. It
// acknowledges all its deliveries with Batch.Ack, or each with Delivery.Ack.
//
// A broker sends no more QoS 1 and 2 messages than it may have in flight, which is Receive Maximum
// on MQTT 5 (256 unless OptionsV5.ReceiveMaximum is set) and a setting of the broker before
// (mosquitto: 20). A max above that limit makes each Batch wait for wait.
//
// The channel is unbuffered, closed after its last value, and the same at every call with the same
// arguments. With a max below 1 or a negative wait it is closed from the start, and Err returns an
// *OptionError.
func (s *Subscription) Batches(max int, wait time.Duration) <-chan Batch {
	return s.s.Batches(max, wait)
}

// Latest returns a channel of the newest messages, for a consumer that needs only the present
// values, such as a dashboard. Each message is acknowledged when it arrives, also at QoS 2, so a
// slow consumer holds up nothing. The client keeps the newest messages that nobody has received: N,
// or with PerTopic N of each topic. For a newer one it drops the oldest, and Stats.Superseded
// counts it. A receive never gets a message that was superseded before.
//
// Without PerTopic, messages are handed over in order of arrival. With PerTopic, the topics take
// turns with one message each, and those of one topic are handed over in order of arrival. A newer
// message takes the place of the one that it supersedes, so that no topic waits longer because its
// values change often. A retained message and a message without payload are like any other.
//
// Each message is a copy that the consumer may keep. The messages of a channel count with at most
// Options.ReceiveBytes, or are one message. When more arrive, the oldest message of the topic that
// was updated longest ago is superseded, so the number of topics needs no other bound. They are
// part of Stats.Inbox, InboxBytes and InboxMemory, and do not pause reading.
//
// After Drain, and at the end of a client with NoReconnect, the channel hands over the messages
// that it keeps, and closes. Unsubscribe, Shutdown and Close drop them, which a kept session does
// not deliver again, and Stats.Discarded counts them.
//
// The channel is unbuffered, closed after its last value, and the same at every call with the same
// options. With a negative N it is closed from the start, and Err returns an *OptionError.
func (s *Subscription) Latest(o LatestOptions) <-chan Message {
	return s.s.Latest(stream.LatestOptions(o))
}

// All returns an iterator over the messages, which needs no goroutine. A message is acknowledged
// when the range loop asks for the next message; a break leaves the last message unacknowledged.
// The iterator ends without an error after Close or Unsubscribe. Otherwise its last pair has the
// error: the cause of ctx, or Err.
func (s *Subscription) All(ctx context.Context) iter.Seq2[Delivery, error] { return s.s.All(ctx) }

// AllBatches returns an iterator over Batches of at most max deliveries, at least 1. A Batch has
// the messages that are there, at least one and at most 4 MiB of them, counted as for ReceiveBytes.
// The Batch and the payloads in it are lent until the range loop asks for the next Batch, which
// acknowledges all its deliveries. Then their memory is used again, so receiving needs no copy and
// no new memory, unless another Subscription has messages of the same read. To keep a message, keep
// its Message.Clone; Requeue makes a copy by itself.
//
// A break, and a panic in the loop body, leave the last Batch unacknowledged; it may then be kept.
// The iterator needs no goroutine. It ends without an error after Close or Unsubscribe. Otherwise
// its last pair has the error: the cause of ctx, Err, or an *OptionError if max is below 1.
func (s *Subscription) AllBatches(ctx context.Context, max int) iter.Seq2[Batch, error] {
	return s.s.AllBatches(ctx, max)
}

// Ready returns a channel that is closed when the broker has answered every filter once, or the
// Subscription has ended. It is closed when Subscribe returns.
func (s *Subscription) Ready() <-chan struct{} { return s.s.Ready() }

// Granted returns the QoS that the broker granted for each filter, in order. A filter that is
// refused or not answered yet has QoS 0.
func (s *Subscription) Granted() []QoS { return s.s.Granted() }

// Refused returns the filters that the broker refused in its last answers, in order. After Declare
// the Subscription lives on without them, and Err stays nil while its channels are open.
func (s *Subscription) Refused() []Filter { return s.s.Refused() }

// Drain ends the Subscription and loses no message that has arrived. It sends UNSUBSCRIBE, and the
// channels close when they have handed over the rest. Drain returns when the broker's UNSUBACK has
// come and consumers have received every message: from the channel or in the range loop, which must
// have asked for the next message or ended. It does not wait for Ack. Somebody must go on to
// receive meanwhile, since Drain waits for him.
//
// When ctx ends first, Drain returns the cause of ctx, and the Subscription ends nevertheless:
// messages not received stay in its channels, or are given up by a call of Unsubscribe.
func (s *Subscription) Drain(ctx context.Context) error { return s.s.Drain(ctx) }

// Unsubscribe ends the Subscription at once, and waits for the broker's UNSUBACK. Its channels
// close. Messages that nobody has received, and messages that arrive before the UNSUBACK, are
// acknowledged and dropped; Stats.Discarded counts them. A delivery that was received before still
// needs its Ack. To receive the rest, use Drain. A filter that another Subscription of the session
// shares stays subscribed. When ctx ends before the UNSUBACK comes, Unsubscribe returns the cause
// of ctx, and the Subscription ends nevertheless.
func (s *Subscription) Unsubscribe(ctx context.Context) error { return s.s.Unsubscribe(ctx) }

// Err returns the reason why the channels closed. It returns nil while they are open, and after
// Unsubscribe, Drain, Close or Shutdown. If the broker refuses a filter when the session restores
// the Subscription, the Subscription ends with a *RefusedError.
//
// A call of Batches, Latest or Merge with a wrong argument returns a closed channel and does not
// end the Subscription. Err then returns an *OptionError until the next consumer begins: a call
// that makes a channel, or a range loop. A range loop never ends with that error.
func (s *Subscription) Err() error { return s.s.Err() }

// Open starts a client and returns before it is connected. An error of Open concerns the arguments
// or the Store, never the broker.
//
// The URL has one of these forms, with the default port in brackets:
//
//	mqtt://host:port (1883)       TCP; tcp:// is a synonym
//	mqtts://host:port (8883)      TLS; ssl:// and tls:// are synonyms
//	ws://host:port/path (80)      WebSocket, subprotocol mqtt; the default path is /mqtt
//	wss://host:port/path (443)    WebSocket over TLS
//	unix:///path                  a unix socket
//
// All forms except unix may contain a user and a password. The user, the password and the query of
// a WebSocket URL are kept out of States, logs and errors. Options.Fallbacks lists further
// endpoints. For a proxy, set Options.DialContext.
func Open(url string, o *Options) (*Client, error) {
	s, err := stream.Open(url, (*stream.Options)(o))
	if err != nil {
		return nil, err
	}
	return &Client{s}, nil
}

// Dial calls Open and waits for the first connection. If the first attempt fails or ctx ends before
// it succeeds, Dial closes the client and returns the reason. A refusal by the broker is a failure
// too. ctx bounds the call of Dial, not the client. A client from Open, and a client that has been
// connected once, tries again after every failure; States reports the reasons.
func Dial(ctx context.Context, url string, o *Options) (*Client, error) {
	s, err := stream.Dial(ctx, url, (*stream.Options)(o))
	if err != nil {
		return nil, err
	}
	return &Client{s}, nil
}

// Publisher is the half of a Client for code that only publishes.
type Publisher interface {
	Publish(context.Context, Message) error
	Publishes() chan<- Publishing
	PublishFrom(context.Context, <-chan Message) <-chan Receipt
	PublishBatches(context.Context, <-chan []Message) <-chan Receipts
	Flush(context.Context) error
	Sync(context.Context) error
	Lifecycle
}

// Subscriber is the half of a Client for code that only receives.
type Subscriber interface {
	Subscribe(context.Context, ...Filter) (*Subscription, error)
	Declare(...Filter) (*Subscription, error)
	Subscriptions() []SubscriptionInfo
	Messages() <-chan Message
	Deliveries() <-chan Delivery
	All(context.Context) iter.Seq2[Delivery, error]
	Lifecycle
}

// Lifecycle has the methods that both halves share.
type Lifecycle interface {
	Online() <-chan struct{}
	AwaitOnline(context.Context) error
	State() State
	States(context.Context) <-chan State
	Stats() Stats
	Timings(*Timings)
	Done() <-chan struct{}
	Err() error
	Shutdown(context.Context) error
	Close() error
}

// Publish publishes m and waits until its QoS exchange is complete. While the client is offline, m
// waits for the next connection. If the connection ends while m is in flight, Options.KeepSession
// decides: with it, m is sent again on the next connection; without it, m ends with the clean
// session (ErrUnconfirmed). If ctx ends first, Publish withdraws m if it is still queued
// (ErrNotSent); a message in flight may arrive (ErrUnconfirmed). The withdrawal is a change in the
// Store: a process that is killed before the Store has it (see Sync) sends m when it starts again.
//
// At QoS 0 over TCP or a unix socket, Publish writes a small message on the goroutine of the caller
// if the client has nothing else to send. It does so until the first call of Publishes, Request,
// Requests or Serve; from then on a goroutine of the client writes every message.
func (c *Client) Publish(ctx context.Context, m Message) error { return c.s.Publish(ctx, m) }

// Publishes returns the channel for publications. It is unbuffered: when a send returns, the
// publication is accepted and gets exactly one Receipt. A send blocks while Options.Queue
// publications wait, unless Options.Full says otherwise. The channel is never closed, so select the
// send with Done.
func (c *Client) Publishes() chan<- Publishing { return c.s.Publishes() }

// PublishFrom is a stage of a pipeline: it publishes the messages from in and returns their
// Receipts, in the same order. Read the returned channel until it is closed: after the channel in
// is closed and its last message has ended, or after ctx or the client ends. When ctx or the client
// ends, the stage stops reading from its input and withdraws the queued messages, so select your
// sends to the input with the same ctx and Done. If nobody receives a Receipt for a second or two
// after ctx has ended, the remaining Receipts are dropped, and Stats.Unreported counts them. If in
// is nil, it counts as closed.
func (c *Client) PublishFrom(ctx context.Context, in <-chan Message) <-chan Receipt {
	return c.s.PublishFrom(ctx, in)
}

// PublishBatches is PublishFrom for batches, whose channel operations cost the less for each
// message the longer the batches are: it publishes the messages from in, in order, and returns the
// Receipts of each batch together, in the order of its messages, when all of them and all earlier
// batches have ended. A batch may be longer than Options.Queue. The stage stops reading from in
// while it holds 1,024 batches, or Window+Queue messages, whose Receipts were not received. An
// invalid message has its error in its Receipt; the other messages of its batch are sent. The slice
// of a batch and the messages in it are not copied: do not change them before you have finished
// with their Receipts.
func (c *Client) PublishBatches(ctx context.Context, in <-chan []Message) <-chan Receipts {
	return c.s.PublishBatches(ctx, in)
}

// Request sends the request m and returns its reply, which is acked (MQTT 5, section 4.10). It can
// be called from many goroutines at once. The first call waits for a connection, and subscribes to
// the topic of the replies. Request sets the response topic and the correlation data of a copy of
// m; setting them in m is an *InvalidError. If m has no Expiry, the deadline of ctx becomes its
// Expiry, so that no responder works on a request that nobody waits for.
//
// The error tells the fate of m as that of Publish does. ErrNoResponder means that nobody
// subscribes to its topic. When ctx ends, m is withdrawn if it is still queued (ErrNotSent);
// otherwise it may have been answered (ErrUnconfirmed). A request whose reply would lie unread,
// since consumers do not take the messages before it, ends with ErrBehind. On 3.1 and 3.1.1,
// Request returns a *VersionError.
//
// At QoS 0 a request or its reply may be lost without a sign. With a Store, a request that ended
// with ErrKept or ErrUnconfirmed may still be sent by the next client. With KeepSession, the broker
// also keeps the Subscription for the replies to an earlier client. Such replies are dropped and
// counted in Stats.LateReplies when the next client sends its first request; until then they wait
// in its Deliveries.
func (c *Client) Request(ctx context.Context, m Message) (Message, error) {
	return c.s.Request(ctx, m)
}

// Requests is a stage of a pipeline: it sends the requests from in, and returns one Reply for each
// of them, with its Tag, in the order in which the replies come. It treats each request as Request
// does; its Ack channel is not used. A request with an Expiry ends when that has passed
// (ErrUnconfirmed with ErrExpired, or ErrNotSent with ErrExpired if it was not sent). At most
// Window+Queue requests are under way or wait to be received as replies; then the stage stops
// reading its input.
//
// Read the returned channel until it is closed: after the channel in is closed and its last request
// has ended, or after ctx or the client ends. While nobody reads it, the client and its other
// channels go on. When ctx or the client ends, the stage stops reading from its input, and every
// request under way ends with an error, so select your sends to the input with the same ctx and
// Done. If nobody receives a Reply for a second or two after ctx has ended, the remaining ones are
// dropped, and Stats.Unreported counts them. If in is nil, it counts as closed.
func (c *Client) Requests(ctx context.Context, in <-chan Publishing) <-chan Reply {
	return c.s.Requests(ctx, in)
}

// Subscribe requests the filters from the broker and waits until the broker has granted all of
// them. If the broker refuses a filter, the error is a *RefusedError with the name of that filter.
// If ctx ends first, the error wraps the cause of ctx and says why there is no answer yet. If the
// broker does not answer within 20 s, or KeepAlive if that is shorter, but answers PINGREQ, the
// error says so. After an error the filters are unsubscribed, unless KeepSession is set: the broker
// may have had them before, and may hold messages for them, so its session stays as it is. The
// messages wait for the next Subscribe. To subscribe without waiting, use Declare.
//
// The client asks for the filters at every connection until you unsubscribe, since a broker may
// lose them and keep the session; Options.TrustSession changes that. The broker then sends the
// retained messages again. A packet has at most 8 filters. Messages, Deliveries, Batches, Latest,
// All, AllBatches, Decode and Merge of one Subscription compete for its messages: use one of them.
//
// A message goes to every Subscription with a matching filter. The client acknowledges it to the
// broker when all these Subscriptions have acked it. Messages that have arrived before any
// Subscription matches them, as in a kept session, wait for the Subscription that comes later. A
// shared filter $share/group/f receives the messages that match f.
func (c *Client) Subscribe(ctx context.Context, f ...Filter) (*Subscription, error) {
	return subscription(c.s.Subscribe(ctx, f...))
}

// Declare subscribes to the filters from now on and returns at once, online or not. Ready of the
// Subscription is closed when the broker has answered all filters. If the broker refuses a filter,
// the others live on, and Refused names it; it is asked for again at the next connection. Otherwise
// Declare works like Subscribe. An error of Declare concerns the arguments, or is ErrClosed.
func (c *Client) Declare(f ...Filter) (*Subscription, error) {
	return subscription(c.s.Declare(f...))
}

// Subscriptions describes the Subscriptions of the client, and the messages that wait for their
// consumers. First come the Subscriptions that are granted or asked for, in the order in which they
// were made. Then come the Subscriptions that wait for their UNSUBACK. The cost grows with
// Stats.Unacked: 0.3 ms for 10,000 deliveries. After the end of the client it returns nil.
func (c *Client) Subscriptions() []SubscriptionInfo { return c.s.Subscriptions() }

func subscription(s *stream.Subscription, err error) (*Subscription, error) {
	if err != nil {
		return nil, err
	}
	return &Subscription{s}, nil
}

// Messages returns the channel of messages that match no Subscription. The channel is unbuffered,
// and receiving a message acks it. Every call returns the same channel, which is closed when the
// client ends.
func (c *Client) Messages() <-chan Message { return c.s.Messages() }

// Deliveries returns the channel of messages that match no Subscription; call Ack for each message.
// Every call returns the same channel, which has a buffer of 256 and is closed when the client
// ends.
func (c *Client) Deliveries() <-chan Delivery { return c.s.Deliveries() }

// All returns an iterator over the messages that match no Subscription. A message is acked when the
// loop asks for the next one. Leaving the loop does not ack the last message, so that returning an
// error is safe. If you have processed that message, call Ack before break. The iterator has no
// goroutine. It ends when the client is closed, or with an error when ctx ends or the client fails.
func (c *Client) All(ctx context.Context) iter.Seq2[Delivery, error] { return c.s.All(ctx) }

// Flush waits until every publication accepted before the call has ended. It says nothing about
// their fate: a refused publication is no longer in flight either. Each Receipt tells. If ctx or
// the client ends first, Flush returns an error. Without a broker it waits until ctx ends.
func (c *Client) Flush(ctx context.Context) error { return c.s.Flush(ctx) }

// Sync waits until Options.Store has all changes made before the call. These are the QoS 1 and 2
// publications that were sent on Publishes and have not ended, and the acks of QoS 2 deliveries. A
// durable Store then keeps them even if the process is killed. Without Sync, a send on Publishes
// that has returned promises only that the publication is in memory. Calls from many goroutines
// share one commit.
//
// An error of the Store means that not all changes are stored. A publication that the Store has
// refused has ended, and its Receipt has the error; a later Sync does not report that error again.
// A message received from Messages is acked an instant later, so a Sync right after the receive may
// miss that ack. Where that matters, use Deliveries or All. Without a Store and KeepSession, Sync
// returns an error.
func (c *Client) Sync(ctx context.Context) error { return c.s.Sync(ctx) }

// Online returns a channel that is closed if the client is connected, or else is closed when it
// connects next. Call Online again for each wait.
func (c *Client) Online() <-chan struct{} { return c.s.Online() }

// States returns a channel with the newest State: first the current one, then each change. A slow
// reader misses all changes except the last. The channel is closed when ctx or the client ends.
func (c *Client) States(ctx context.Context) <-chan State { return c.s.States(ctx) }

// State returns the newest State.
func (c *Client) State() State { return c.s.State() }

// AwaitOnline waits until the client is connected. It returns nil at once if it is. If ctx ends
// first, the error wraps ctx.Err(), the cause of ctx and the reason why the client is not
// connected. If the client ends first, the error wraps ErrClosed and the reason.
func (c *Client) AwaitOnline(ctx context.Context) error { return c.s.AwaitOnline(ctx) }

// Stats returns counters and gauges. It does not wait for the end of the client, which a Store
// that hangs can hold up: while the client ends, it returns their values from the beginning of the
// end, and afterwards their last values.
func (c *Client) Stats() Stats { return c.s.Stats() }

// Timings sets t to the durations recorded since its first call. The first call begins the
// recording and sets t to zero; with a nil t it only does the former. Later calls do not allocate,
// and no call waits. Timings may be called at any time, also after the end of the client.
func (c *Client) Timings(t *Timings) { c.s.Timings(t) }

// Done returns a channel that is closed when the client has ended, after all other channels are
// closed and all goroutines of the client have returned.
func (c *Client) Done() <-chan struct{} { return c.s.Done() }

// Err returns the reason why the client ended. It returns nil while the client runs, and after
// Close or Shutdown.
func (c *Client) Err() error { return c.s.Err() }

// Shutdown ends the client in order. First it stops delivering messages (the receive channels
// close) and waits until the delivered messages are acked. Then it stops accepting publications and
// waits until the accepted publications have ended. At last it sends the remaining acks and
// DISCONNECT, and closes. If ctx ends first, Shutdown closes at once, and the error says how many
// publications and deliveries were unfinished. With KeepSession and a Store, the next client finds
// them in the Store or at the broker. While offline, Shutdown waits for the publications until ctx
// ends. Offline with a Store and KeepSession, Sync and Close end at once, and lose no message at
// QoS 1 or 2.
func (c *Client) Shutdown(ctx context.Context) error { return c.s.Shutdown(ctx) }

// ShutdownWith is Shutdown with another end of the connection, such as one that publishes the will.
// EndSession, Expiry, Reason and User need MQTT 5: on an older connection, or while the client is
// offline, the error says so and the client goes on. If the connection is lost later, so that no
// DISCONNECT can be sent, the client ends, and the error says so.
func (c *Client) ShutdownWith(ctx context.Context, f Farewell) error {
	return c.s.ShutdownWith(ctx, f)
}

// Reauthenticate authenticates the client anew on the present connection, with a new Exchange of
// OptionsV5.Authenticate (MQTT 5, section 4.12.1), and waits for the result. From the first AUTH to
// the last nothing but DISCONNECT is sent, since some brokers end the connection otherwise. That
// takes at most ConnectTimeout or half the keep alive, whichever is shorter. It begins when reading
// is not paused for consumers. A later pause does not count, and PINGREQ is sent meanwhile. If it
// fails, the connection is closed and the client connects again. An Exchange with a method
// Expires() time.Time is renewed by itself at nine tenths of that time.
func (c *Client) Reauthenticate(ctx context.Context) error { return c.s.Reauthenticate(ctx) }

// Close ends the client at once. It sends DISCONNECT and waits for the broker to close the
// connection, at most a second; brokers close it at once. Every unfinished publication gets its
// Receipt. Close stops offering Receipts when no channel has accepted one for a second; the error
// says how many Receipts were lost. When Close returns, all goroutines of the client have returned.
// It can be called any number of times.
func (c *Client) Close() error { return c.s.Close() }

// Decode returns a channel of the messages of sub, decoded by dec. If dec cannot decode a payload,
// the Event has Err set and must still be acked. The channel has a buffer of 256 and is closed when
// sub or the client ends. It competes with the other channels of sub, so use one of them. The
// client calls dec on one of its goroutines.
func Decode[T any](sub *Subscription, dec Decoder[T]) <-chan Event[T] {
	return stream.Decode(sub.s, dec)
}

// Merge returns a channel of the messages of all subs, which may belong to several clients. Ack
// finds the client of each message.
//
// The messages of one Subscription come in order of arrival. The Subscriptions in which messages
// wait take turns, with one message each, so none starves. A Subscription misses a turn if its
// goroutine is not scheduled in time. The channel is unbuffered. While nobody receives, the
// messages wait in their Subscriptions, within MaxUnread and ReceiveBytes of each client, and no
// client is blocked.
//
// When one of subs ends, the others go on. The channel is closed when all of them have ended and
// their messages have been received or taken back, as at the end of Messages. Then Err of each
// Subscription returns its reason. Merge starts one goroutine for each Subscription. The goroutine
// belongs to the client of the Subscription, and ends with the Subscription or the client, also if
// nobody receives.
//
// Merge competes with the other ways to receive from subs. Calls with the same arguments return the
// same channel. Each of subs must occur once, must not be nil, and must have no other consumer: no
// other Merge, no receive channel and no range loop. Otherwise the channel is closed from the
// start, and Err of each Subscription returns an *OptionError. Without arguments the channel is
// closed too.
func Merge(subs ...*Subscription) <-chan Delivery {
	inner := make([]*stream.Subscription, len(subs))
	for i, sub := range subs {
		if sub != nil {
			inner[i] = sub.s
		}
	}
	return stream.Merge(inner...)
}

// PublishFrom is Client.PublishFrom for values of any type. If enc cannot encode a value, its
// Receipt has the value as Tag and an Err that wraps ErrNotSent.
func PublishFrom[T any](ctx context.Context, c *Client, enc Encoder[T], in <-chan T) <-chan Receipt {
	return stream.PublishFrom(ctx, c.s, enc, in)
}

// Serve subscribes to filters and answers the requests that match them (MQTT 5, section 4.10). It
// calls serve for one request at a time, in order of arrival, and publishes the message that serve
// returns. If that message has no topic, it goes to the response topic of the request, at the QoS
// of the request. It gets the correlation data of the request, unless it has its own. Serve does
// not wait for the Receipt of a reply before the next call.
//
// A request is acked when its reply has its Receipt. So a request whose reply was not sent comes
// again after a crash, if KeepSession is set, and serve must bear to see a request twice. A request
// without a response topic is acked after the call, and the message is not used. If serve returns
// an error and an empty message, there is no reply: the request is rejected with
// ImplementationSpecificError and the text of the error, which the broker sees, but the requester
// does not. To tell the requester, return a message that says so. If the broker refuses the reply,
// or the reply can never be sent, the request is rejected too, and the log has the reason. If the
// reply could not be sent for a reason that passes, serve gets the request again a second later.
//
// Serve returns the cause of ctx when ctx ends. It then unsubscribes, and requests that have
// arrived are acked and dropped. To leave the waiting requests of a kept session to the next
// process, end the client: Serve returns nil after Shutdown or Close. Otherwise it returns the
// error of Subscribe, or the reason why the Subscription ended. To work on several requests at
// once, use Subscribe and Delivery.Reply, or several clients and a shared filter.
func Serve(ctx context.Context, c *Client, serve func(context.Context, Delivery) (Message, error), f ...Filter) error {
	return stream.Serve(ctx, c.s, serve, f...)
}

// Retryable reports whether a failed call has left nothing behind, and trying it again can help. It
// is true for ErrNotSent (unless an argument is invalid or the client has ended), for network
// errors and ended contexts, for ServerUnavailable and ServerBusy, and for HTTP status 408, 429 and
// 5xx. It is false for ErrUnconfirmed, ErrKept, ErrClosed, ErrExpired, ErrEvicted, refusals,
// limits, invalid arguments and all other errors. ErrBehind counts only inside ErrNotSent. The
// comment of stream.Retryable has the whole table.
func Retryable(err error) bool { return stream.Retryable(err) }

// JSON is a Decoder for JSON payloads.
func JSON[T any](m Message) (T, error) {
	var v T
	err := json.Unmarshal(m.Payload, &v)
	return v, err
}

// JSONTo returns an Encoder that publishes values as JSON to topic.
func JSONTo[T any](topic string, q QoS) Encoder[T] {
	return func(v T) (Message, error) {
		payload, err := json.Marshal(v)
		return Message{Topic: topic, Payload: payload, QoS: q}, err
	}
}

// FollowSecure is a policy for OptionsV5.Redirect. It follows a reference of the form host or
// host:port from a broker with TLS, to the same scheme. TLS verifies the name of the new host. The
// user name and the password of the Options are not sent there; Options.Prepare can set others.
func FollowSecure(ctx context.Context, r Redirect) (url string, err error) {
	return stream.FollowSecure(ctx, r)
}

// Match reports whether a topic filter matches a topic name (section 4.7). A wildcard at the
// beginning of the filter does not match a topic that begins with $. A shared filter $share/group/f
// matches the same topics as f.
func Match(filter, topic string) bool { return frames.Match(filter, topic) }

// NewMemoryStore returns a Store in memory. Clients that use it one after another continue one
// session, which ends with the process.
func NewMemoryStore() Store { return flow.NewMemoryStore() }
