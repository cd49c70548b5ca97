// SPDX-License-Identifier: MIT
/*
 * calm.c: two well-behaved processes on a stage of their own. Whatever the hostile ones do on
 * theirs, each message arrives here, once, whole and in order.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sluice/sluice.h>

#include "hostile.h"

#define SECOND_NS	1000000000ll
#define BYTES_MAX	6000u

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * SECOND_NS + (uint64_t)ts.tv_nsec;
}

static void fill(unsigned char *p, uint32_t len, uint64_t n)
{
	uint32_t i;

	for (i = 0; i < len; i++)
		p[i] = (unsigned char)(rng_mix(n) + i * 7);
}

static uint32_t length_of(uint64_t n)
{
	return n % 3 ? (uint32_t)(rng_mix(n) % 64) + 8 : (uint32_t)(rng_mix(n) % (BYTES_MAX - 80)) + 80;
}

static void attach(struct sluice_ctx **ctx, struct sluice_ep **ep, enum sluice_role role)
{
	if (sluice_ctx_create(0, ctx) || sluice_attach(*ctx, CALM, role, 0, ep)) {
		broken("calm: attaching: %s", sluice_error());
		_exit(1);
	}
}

/* One at a time or a few at once; every eighth waits for its acknowledgement. */
void calm_produce(void)
{
	unsigned char bytes[BYTES_MAX];
	struct sluice_ctx *ctx;
	struct sluice_ep *out;
	uint64_t n;
	int err;

	attach(&ctx, &out, SLUICE_PRODUCER);
	for (n = 0; !__atomic_load_n(&shared->stop, __ATOMIC_ACQUIRE); n++) {
		struct sluice_msg m = {
			.stream = 1, .counter = n, .data = bytes, .len = length_of(n),
			.buffer = SLUICE_NO_BUFFER,
		};

		fill(bytes, m.len, n);
		err = n % 8 ? sluice_send(out, &m, 120 * SECOND_NS) :
		      sluice_send_sync(out, &m, 120 * SECOND_NS);
		if (err) {
			broken("calm: sending message %llu: %s", (unsigned long long)n,
			       sluice_error());
			_exit(1);
		}
		__atomic_store_n(&shared->calm_sent, n + 1, __ATOMIC_RELEASE);
		if (!(n % 16))
			usleep(2000);
	}
	/* What is on its way shall arrive: the consumer tells when it has. */
	while (__atomic_load_n(&shared->calm_received, __ATOMIC_ACQUIRE) < n)
		usleep(1000);
	sluice_ctx_destroy(ctx);
	_exit(0);
}

static void calm_check(const struct sluice_msg *m, uint64_t n)
{
	unsigned char want[BYTES_MAX];

	if (m->counter != n || m->len != length_of(n)) {
		broken("calm: message %llu of %u bytes where %llu of %u was expected",
		       (unsigned long long)m->counter, m->len, (unsigned long long)n,
		       length_of(n));
		_exit(1);
	}
	fill(want, m->len, n);
	if (memcmp(m->data, want, m->len)) {
		broken("calm: message %llu is not what was sent", (unsigned long long)n);
		_exit(1);
	}
}

void calm_consume(void)
{
	struct sluice_ctx *ctx;
	struct sluice_ep *in;
	struct sluice_msg m;
	uint64_t n = 0, last = now_ns(), now;
	int err;

	attach(&ctx, &in, SLUICE_CONSUMER);
	for (;;) {
		err = sluice_claim(in, &m, SECOND_NS / 10);
		now = now_ns();
		if (err == -EAGAIN) {
			if (__atomic_load_n(&shared->stop, __ATOMIC_ACQUIRE) &&
			    n == __atomic_load_n(&shared->calm_sent, __ATOMIC_ACQUIRE))
				break;
			continue;
		}
		if (err) {
			broken("calm: claiming message %llu: %s", (unsigned long long)n,
			       sluice_error());
			_exit(1);
		}
		calm_check(&m, n);
		err = sluice_ack(in, &m);
		if (err) {
			broken("calm: acknowledging message %llu: %s", (unsigned long long)n,
			       sluice_error());
			_exit(1);
		}
		n++;
		if (now - last > shared->calm_slowest_ns)
			shared->calm_slowest_ns = now - last;
		last = now;
		__atomic_store_n(&shared->calm_received, n, __ATOMIC_RELEASE);
	}
	sluice_ctx_destroy(ctx);
	_exit(0);
}
