// SPDX-License-Identifier: MIT
/*
 * state_log.c - a setting that three processes share: all change it at the same point
 *
 *	insmod sluice.ko
 *	state_log
 *
 * The state is a temperature and how often it was set. Each process sets it some times and applies
 * what all have set, in the one order of the log; the third joins late and begins with a snapshot.
 * In the end all copies are equal.
 */
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sluice/log.h>

#define LOG		"example.state"
#define MEMBERS		3
#define SETS		4	/* by each */

#define MUST(call)	do { if (call) errx(1, "%s: %s", #call, sluice_error()); } while (0)

struct setting {
	double		temperature;
	unsigned int	changes;
};

static int apply(void *state, const void *data, size_t len, uint64_t position)
{
	struct setting *s = state;

	(void)position;
	if (len != sizeof(double))
		return -EPROTO;
	/* depends on what was there, so that the order matters */
	s->temperature = s->temperature / 2 + *(const double *)data;
	s->changes++;
	return 0;
}

static ssize_t save(void *state, void *buf, size_t size)
{
	if (size < sizeof(struct setting))
		return -EMSGSIZE;
	memcpy(buf, state, sizeof(struct setting));
	return sizeof(struct setting);
}

static int load(void *state, const void *data, size_t len)
{
	if (len != sizeof(struct setting))
		return -EPROTO;
	memcpy(state, data, len);
	return 0;
}

static void member(int number)
{
	const struct sluice_log_ops ops = { apply, save, load };
	struct setting setting = { 0 };
	struct sluice_ctx *ctx;
	struct sluice_log *log;
	unsigned int at;
	int i;

	usleep(number == MEMBERS ? 200000 : 0);
	MUST(sluice_ctx_create(0, &ctx));
	MUST(sluice_log_join(ctx, LOG, &ops, &setting, SLUICE_FOREVER, &log));
	at = setting.changes;
	for (i = 0; i < SETS; i++) {
		double t = number + i / 10.0;

		MUST(sluice_log_append(log, &t, sizeof(t)));
	}
	while (setting.changes < MEMBERS * SETS)
		MUST(sluice_log_step(log, SLUICE_FOREVER));
	printf("member %d: joined at %u changes, has %u, temperature %.6f\n", number, at,
	       setting.changes, setting.temperature);
	fflush(stdout);
	/* those who are behind may still need an answer */
	while (!sluice_log_step(log, 500000000))
		;
	sluice_log_leave(log);
	sluice_ctx_destroy(ctx);
	_exit(0);
}

int main(void)
{
	int i, status, failed = 0;

	MUST(sluice_log_create(LOG, sizeof(struct setting), 0));
	for (i = 1; i <= MEMBERS; i++)
		if (!fork())
			member(i);
	while (wait(&status) > 0)
		failed |= status;
	MUST(sluice_destroy(LOG, 0, 0));
	return !!failed;
}
