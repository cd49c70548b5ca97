// SPDX-License-Identifier: MIT
/*
 * Description: rules that are accepted mean what they print; facts of any message can be read
 *
 * One byte of options (0x80: label and type are put right, so that the rest is looked at), rules, a
 * zero byte, then the payload, allocated to the byte.
 */
#include <errno.h>

#include <sluice/route.h>

#include "fuzz.h"

static bool one_line(const char *text)
{
	return text[0] && !strchr(text, '\n') && strlen(text) < 512;
}

/* Printed and read again, the rules name the same stages and decide alike. */
static void check_same(const struct sluice_routes *r, const struct sluice_facts *f)
{
	struct sluice_routes again = { .n = 0 };
	char text[SLUICE_ROUTE_TEXT], second[SLUICE_ROUTE_TEXT];

	for (uint32_t i = 0; i < r->n; i++) {
		fuzz_check(r->rule[i].nto && r->rule[i].nto <= SLUICE_ROUTE_TO);
		for (uint32_t j = 0; j < r->rule[i].nto; j++)
			fuzz_check(r->rule[i].to[j] < r->nstages);
		sluice_route_format(r, i, text);
		fuzz_check(strlen(text) < SLUICE_ROUTE_TEXT - 1);
		/* A line that is longer than one of the file may be is none. */
		if (sluice_routes_parse(&again, text))
			return;
		fuzz_check(!strcmp(text, sluice_route_format(&again, i, second)));
	}
	fuzz_check(sluice_routes_match(&again, f) == sluice_routes_match(r, f));
}

/* A rule that stands behind another one for the same is never reached: refused, nothing added. */
static void check_twice(const struct sluice_routes *r)
{
	struct sluice_routes twice = *r;
	char text[SLUICE_ROUTE_TEXT];

	if (!r->n || sluice_routes_parse(&twice, sluice_route_format(r, r->n - 1, text)))
		fuzz_check(!memcmp(&twice, r, sizeof(twice)));
	else
		fuzz_check(0);
}

static void put_right(char *payload, size_t len)
{
	struct sluice_label label;
	struct sluice_tensor h;

	if (len < sizeof(label))
		return;
	memcpy(&label, payload, sizeof(label));
	if (label.magic == SLUICE_LABEL_MAGIC) {
		label.version = SLUICE_LABEL_VERSION;
		label.reserved = 0;
		label.model[SLUICE_MODEL_MAX - 1] = '\0';
		memcpy(payload, &label, sizeof(label));
		payload += sizeof(label);
		len -= sizeof(label);
	}
	if (len < sizeof(h))
		return;
	memcpy(&h, payload, sizeof(h));
	h.version = SLUICE_TENSOR_VERSION;
	h.bytes = (uint32_t)(len - sizeof(h));
	if (h.rank == 1 && sluice_dtype_size(h.dtype))
		h.shape[0] = (uint32_t)(h.bytes / sluice_dtype_size(h.dtype));
	memcpy(payload, &h, sizeof(h));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size }, line;
	uint8_t options = (uint8_t)fuzz_take(&in, 1);
	static struct sluice_routes routes;
	struct sluice_msg m = { .kind = options & 0xf };
	struct sluice_facts facts = { .length = options };
	char *text, *payload;
	int rule;

	line = fuzz_take_until(&in, 0);
	text = strndup(line.left ? (const char *)line.data : "", line.left);
	payload = malloc(in.left + !in.left);
	fuzz_check(text && payload);
	if (in.left)
		memcpy(payload, in.data, in.left);
	if (options & 0x80)
		put_right(payload, in.left);
	m.data = payload;
	m.len = (uint32_t)in.left;
	if (sluice_facts_read(&m, &facts))
		fuzz_check(one_line(sluice_error()));
	else
		fuzz_check(facts.length <= m.len && strlen(facts.model) < SLUICE_MODEL_MAX);
	memset(&routes, 0, sizeof(routes));
	if (sluice_routes_parse(&routes, text)) {
		fuzz_check(one_line(sluice_error()) && !routes.n);
	} else {
		rule = sluice_routes_match(&routes, &facts);
		fuzz_check(rule == -ENOENT || (rule >= 0 && (uint32_t)rule < routes.n));
		check_same(&routes, &facts);
		check_twice(&routes);
	}
	free(payload);
	free(text);
	return 0;
}
