/* A plugin of mosquitto for enhanced authentication with the method "exchange". The client begins
 * with a nonce. Twice it answers a challenge with the secret before the challenge. At last the
 * broker sends the nonce behind the secret, as a proof of its own. */

#include <stdio.h>
#include <string.h>

#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>

enum { SUCCESS = 0, REFUSED = 11, CONTINUE = -4 }; /* MOSQ_ERR_ in mosquitto.h, of another package */
enum { CLIENTS = 64, LONGEST = 64, STEPS = 2 };

static const char secret[] = "grain ";

/* An exchange is under way while steps is not 0. */
static struct exchange {
	const struct mosquitto *client;
	int steps; /* challenges that are not yet answered */
	char nonce[LONGEST], challenge[LONGEST];
} exchanges[CLIENTS];

static unsigned number;

static int answer(struct mosquitto_evt_extended_auth *e, const char *before, const char *text, int result)
{
	size_t n = strlen(before) + strlen(text);
	char *out = mosquitto_malloc(n + 1);

	if (out == NULL)
		return REFUSED;
	snprintf(out, n + 1, "%s%s", before, text);
	e->data_out = out;
	e->data_out_len = (uint16_t)n;
	return result;
}

static int ask(struct mosquitto_evt_extended_auth *e, struct exchange *x)
{
	snprintf(x->challenge, sizeof x->challenge, "challenge %u", ++number);
	return answer(e, "", x->challenge, CONTINUE);
}

static int start(int event, void *data, void *user)
{
	struct mosquitto_evt_extended_auth *e = data;
	struct exchange *x = NULL;

	(void)event, (void)user;
	if (strcmp(e->auth_method, "exchange") != 0 || e->data_in_len >= LONGEST)
		return REFUSED;
	for (int i = 0; i < CLIENTS; i++)
		if (exchanges[i].client == e->client || (x == NULL && exchanges[i].steps == 0))
			x = &exchanges[i];
	if (x == NULL)
		return REFUSED;
	memset(x, 0, sizeof *x);
	x->client = e->client;
	x->steps = STEPS;
	if (e->data_in_len > 0)
		memcpy(x->nonce, e->data_in, e->data_in_len);
	return ask(e, x);
}

static int go_on(int event, void *data, void *user)
{
	struct mosquitto_evt_extended_auth *e = data;
	char want[sizeof secret + LONGEST];

	(void)event, (void)user;
	for (int i = 0; i < CLIENTS; i++) {
		struct exchange *x = &exchanges[i];

		if (x->client != e->client || x->steps == 0)
			continue;
		int n = snprintf(want, sizeof want, "%s%s", secret, x->challenge);
		if (e->data_in_len != n || memcmp(e->data_in, want, (size_t)n) != 0) {
			x->steps = 0;
			return REFUSED;
		}
		if (--x->steps > 0)
			return ask(e, x);
		return answer(e, secret, x->nonce, SUCCESS);
	}
	return REFUSED;
}

static mosquitto_plugin_id_t *id;

int mosquitto_plugin_version(int count, const int *versions)
{
	for (int i = 0; i < count; i++)
		if (versions[i] == 5)
			return 5;
	return -1;
}

int mosquitto_plugin_init(mosquitto_plugin_id_t *plugin, void **user, struct mosquitto_opt *options, int count)
{
	(void)user, (void)options, (void)count;
	id = plugin;
	if (mosquitto_callback_register(id, MOSQ_EVT_EXT_AUTH_START, start, NULL, NULL) != SUCCESS)
		return REFUSED;
	return mosquitto_callback_register(id, MOSQ_EVT_EXT_AUTH_CONTINUE, go_on, NULL, NULL);
}

int mosquitto_plugin_cleanup(void *user, struct mosquitto_opt *options, int count)
{
	(void)user, (void)options, (void)count;
	mosquitto_callback_unregister(id, MOSQ_EVT_EXT_AUTH_START, start, NULL);
	return mosquitto_callback_unregister(id, MOSQ_EVT_EXT_AUTH_CONTINUE, go_on, NULL);
}
