//go:build ignore

// This program is the child process that runs libmosquitto. go build ignores it, and
// bench compiles it. Its arguments are host, port, kind of scenario, QoS, payload in
// bytes, window, messages, clients, keep-alive in seconds and topic. It speaks with its
// parent as the other children do (child.go). Without arguments it prints the version of
// libmosquitto.

#include <inttypes.h>
#include <mosquitto.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static struct {
	const char *host, *kind, *topic;
	int port, qos, payload, window, clients, keepalive;
	long messages;
	void *body;
} scenario;

// Only one thread at a time uses a client.
struct client {
	struct mosquitto *m;
	pthread_t thread;
	long want, begun, done; // messages of this client
	int granted;            // 0 after a CONNACK or SUBACK without an error
	double at;              // time when the last message was done
};

static void fail(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	printf("failed \"");
	vprintf(format, args);
	printf("\"\n");
	va_end(args);
	exit(1);
}

static void check(int rc, const char *what)
{
	if (rc != MOSQ_ERR_SUCCESS)
		fail("%s: %s", what, mosquitto_strerror(rc));
}

static void say(const char *word)
{
	printf("%s\n", word);
	fflush(stdout);
}

static void expect(const char *word)
{
	char line[64];
	if (!fgets(line, sizeof line, stdin))
		exit(1); // the parent has exited
	line[strcspn(line, "\n")] = 0;
	if (strcmp(line, word) != 0)
		fail("the parent says %s instead of %s", line, word);
}

static bool is(const char *kind) { return strcmp(scenario.kind, kind) == 0; }

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void send_one(struct client *c)
{
	c->begun++;
	check(mosquitto_publish(c->m, NULL, scenario.topic, scenario.payload, scenario.body, scenario.qos, false), "publish");
}

// loop runs the network loop once, as mosquitto_loop_forever does repeatedly.
static void loop(struct client *c) { check(mosquitto_loop(c->m, 1000, 1), "loop"); }

static void on_connect(struct mosquitto *m, void *obj, int rc)
{
	struct client *c = obj;
	(void)m;
	c->granted = rc;
}

static void on_subscribe(struct mosquitto *m, void *obj, int mid, int count, const int *granted)
{
	struct client *c = obj;
	(void)m, (void)mid;
	c->granted = count == 1 && granted[0] == scenario.qos ? 0 : 1;
}

// on_publish is called when a message at QoS 0 was written, or when PUBACK or PUBCOMP has
// arrived. The window then has room for the next message.
static void on_publish(struct mosquitto *m, void *obj, int mid)
{
	struct client *c = obj;
	(void)m, (void)mid;
	c->done++;
	if (scenario.qos > 0 && c->begun < c->want)
		send_one(c);
}

static void on_message(struct mosquitto *m, void *obj, const struct mosquitto_message *message)
{
	struct client *c = obj;
	(void)m, (void)message;
	c->done++;
	c->at = now();
}

// await waits for CONNACK or SUBACK.
static void await(struct client *c, const char *what)
{
	while (c->granted < 0)
		loop(c);
	if (c->granted > 0)
		fail("%s refused", what);
}

static void connect_one(struct client *c, long i)
{
	char id[32];
	snprintf(id, sizeof id, "bench-%ld", i);
	if (!(c->m = mosquitto_new(id, true, c)))
		fail("no memory");
	c->want = scenario.messages / scenario.clients + (i < scenario.messages % scenario.clients);
	mosquitto_connect_callback_set(c->m, on_connect);
	mosquitto_subscribe_callback_set(c->m, on_subscribe);
	if (is("publish"))
		mosquitto_publish_callback_set(c->m, on_publish);
	mosquitto_message_callback_set(c->m, on_message);
	check(mosquitto_int_option(c->m, MOSQ_OPT_TCP_NODELAY, 1), "no delay");
	check(mosquitto_max_inflight_messages_set(c->m, scenario.window), "window");
	c->granted = -1;
	check(mosquitto_connect(c->m, scenario.host, scenario.port, scenario.keepalive), "connect");
	await(c, "CONNECT");
	if (is("publish"))
		return;
	c->granted = -1;
	check(mosquitto_subscribe(c->m, NULL, scenario.topic, scenario.qos), "subscribe");
	await(c, "SUBSCRIBE");
}

// publish_all fills the window. After that, each ack publishes one more message. QoS 0 has
// no window: publish_all writes all messages, and calls the loop to write the bytes that
// the connection did not accept at once.
static void publish_all(struct client *c)
{
	while (c->begun < c->want && (scenario.qos == 0 || c->begun < scenario.window)) {
		send_one(c);
		while (scenario.qos == 0 && mosquitto_want_write(c->m))
			loop(c);
	}
	while (c->done < c->want)
		loop(c);
}

static void *run(void *of)
{
	struct client *c = of;
	if (is("publish"))
		publish_all(c);
	else
		while (c->done < c->want)
			loop(c);
	return NULL;
}

static void run_all(struct client *all)
{
	for (int i = 1; i < scenario.clients; i++)
		if (pthread_create(&all[i].thread, NULL, run, &all[i]))
			fail("no thread");
	run(&all[0]);
	for (int i = 1; i < scenario.clients; i++)
		pthread_join(all[i].thread, NULL);
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

// echo measures the round trips and returns them sorted.
static double *echo(struct client *c)
{
	double *rtt = calloc(c->want, sizeof *rtt);
	if (!rtt)
		fail("no memory");
	for (long i = 0; i < c->want; i++) {
		double sent = now();
		send_one(c);
		while (c->done <= i)
			loop(c);
		rtt[i] = c->at - sent;
	}
	qsort(rtt, c->want, sizeof *rtt, by_size);
	return rtt;
}

// usage returns the counters of this process, from the same sources as in the other children.
struct usage {
	double time, cpu;
	long wakeups;
	uint64_t syscalls;
};

static struct usage usage(void)
{
	struct usage u = {.time = now()};
	struct rusage r;
	getrusage(RUSAGE_SELF, &r);
	u.cpu = r.ru_utime.tv_sec + r.ru_stime.tv_sec + (r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
	u.wakeups = r.ru_nvcsw;
	FILE *io = fopen("/proc/self/io", "r");
	if (io) {
		char name[32];
		uint64_t n;
		while (fscanf(io, "%31s %" SCNu64, name, &n) == 2)
			if (strcmp(name, "syscr:") == 0 || strcmp(name, "syscw:") == 0)
				u.syscalls += n;
		fclose(io);
	}
	return u;
}

int main(int argc, char **argv)
{
	if (argc == 1) {
		int major, minor, revision;
		mosquitto_lib_version(&major, &minor, &revision);
		printf("%d.%d.%d\n", major, minor, revision);
		return 0;
	}
	if (argc != 11)
		fail("%d arguments", argc);
	scenario.host = argv[1], scenario.port = atoi(argv[2]), scenario.kind = argv[3];
	scenario.qos = atoi(argv[4]), scenario.payload = atoi(argv[5]), scenario.window = atoi(argv[6]);
	scenario.messages = atol(argv[7]), scenario.clients = atoi(argv[8]), scenario.keepalive = atoi(argv[9]);
	scenario.topic = argv[10];
	scenario.body = calloc(1, scenario.payload + 1);
	struct client *all = calloc(scenario.clients, sizeof *all);
	if (!scenario.body || !all)
		fail("no memory");

	mosquitto_lib_init();
	for (int i = 0; i < scenario.clients; i++)
		connect_one(&all[i], i);
	struct usage before = usage();
	say("ready");
	expect("go");
	if (!is("receive")) // its first messages may arrive before "go"
		before = usage();
	double *rtt = NULL;
	if (is("echo"))
		rtt = echo(all);
	else
		run_all(all);
	if (is("publish"))
		expect("done");
	struct usage after = usage();

	printf("result {\"Messages\":%ld,\"Seconds\":%.9f,\"CPU\":%.6f,\"Syscalls\":%" PRIu64 ",\"Wakeups\":%ld",
		scenario.messages, after.time - before.time, after.cpu - before.cpu,
		after.syscalls - before.syscalls, after.wakeups - before.wakeups);
	if (rtt)
		printf(",\"P50\":%.9f,\"P99\":%.9f", rtt[all[0].want / 2], rtt[all[0].want * 99 / 100]);
	say("}");

	for (int i = 0; i < scenario.clients; i++) {
		check(mosquitto_disconnect(all[i].m), "disconnect");
		mosquitto_destroy(all[i].m);
	}
	mosquitto_lib_cleanup();
	free(rtt);
	free(all);
	free(scenario.body);
	return 0;
}
