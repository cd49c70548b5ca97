// SPDX-License-Identifier: MIT
/* stage_main.c - start and end of a daemon: options, signals, attaching, readiness */

#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "stage.h"
#include "stage_pvt.h"

#define LOG_BURST	20	/* lines at once */
#define LOG_PER_SECOND	5	/* lines a second after that */

static const char *program = "sluice-stage";
static struct sluice_ctx *signal_ctx;
static volatile sig_atomic_t signals;

/* --------------------------------------------------------------- logging --- */

/* A token bucket: a hostile producer must not fill the disk through our stderr. */
static bool log_allowed(unsigned int *suppressed)
{
	static double tokens = LOG_BURST, last;
	static unsigned int missed;
	struct timespec ts;
	double now;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
	tokens += last ? (now - last) * LOG_PER_SECOND : 0;
	tokens = tokens > LOG_BURST ? LOG_BURST : tokens;
	last = now;
	if (tokens < 1) {
		missed++;
		return false;
	}
	tokens -= 1;
	*suppressed = missed;
	missed = 0;
	return true;
}

void stage_log(const char *fmt, ...)
{
	unsigned int suppressed = 0;
	char line[1024];
	va_list ap;

	if (!log_allowed(&suppressed))
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (suppressed)
		fprintf(stderr, "%s: (%u lines left out)\n", program, suppressed);
	fprintf(stderr, "%s: %s\n", program, line);
}

void stage_progress(void *ctx, const char *what, uint64_t done, uint64_t total)
{
	static const char *last_what;
	static unsigned int last_tenth;
	unsigned int tenth = total ? (unsigned int)(done * 10 / total) : 0;

	if (what == last_what && tenth == last_tenth)
		return;
	last_what = what;
	last_tenth = tenth;
	stage_log("%s weights: %u %%", what, tenth * 10);
}

int stage_need(struct stage *st, enum msg_stage to, size_t bytes, struct model_error *err)
{
	struct sluice_ep *ep = st->out[to];

	if (bytes && bytes <= sluice_buffer_size(ep) && sluice_hints(ep)->nbufs)
		return 0;
	return model_fail(err, EMSGSIZE, "stage %s has buffers of %zu bytes, this model with "
			  "--ctx %u needs %zu: raise its buffer_size, or lower --ctx",
			  sluice_stage_name(ep), sluice_buffer_size(ep), st->opt.n_ctx, bytes);
}

/* --------------------------------------------------------------- options --- */

static void usage(const struct stage_ops *ops, FILE *f)
{
	fprintf(f,
		"usage: %s --model FILE [options]\n\n%s\n\n"
		"  -m, --model FILE        GGUF file\n"
		"  -c, --ctx N             tokens a stream may have (2048, at most the model's)\n"
		"  -n, --max-streams N     streams under way at once (8)\n"
		"      --chunk N           tokens that prefill computes at once (256)\n"
		"      --batch N           streams that a decode step computes at once (8)\n"
		"      --embedding NAME, --encoder NAME, --decoder NAME, --output NAME\n"
		"                          names of the rings, if others than these words\n"
		"      --cpu N             run on this processor only\n"
		"      --spin-us N         wait actively so long before sleeping, at most (50)\n"
		"      --no-uring          poll and ioctl only\n"
		"  -v, --verbose           one line for every unusual event of a stream\n"
		"  -h, --help\n\n"
		"SIGTERM: finish what is in the ring, then leave; a second one: leave after the\n"
		"message at hand. `sluicectl up` creates the rings and starts all four daemons.\n\n"
		"example:\n  %s --model SmolLM2-135M-Instruct.Q4_1.gguf --ctx 1024 --cpu 1\n",
		program, ops->summary, program);
}

enum { OPT_CHUNK = 256, OPT_BATCH, OPT_CPU, OPT_SPIN, OPT_NO_URING, OPT_NAME };

static const struct option long_options[] = {
	{ "model", required_argument, NULL, 'm' },
	{ "ctx", required_argument, NULL, 'c' },
	{ "max-streams", required_argument, NULL, 'n' },
	{ "chunk", required_argument, NULL, OPT_CHUNK },
	{ "batch", required_argument, NULL, OPT_BATCH },
	{ "cpu", required_argument, NULL, OPT_CPU },
	{ "spin-us", required_argument, NULL, OPT_SPIN },
	{ "no-uring", no_argument, NULL, OPT_NO_URING },
	{ "verbose", no_argument, NULL, 'v' },
	{ "help", no_argument, NULL, 'h' },
	{ "embedding", required_argument, NULL, OPT_NAME + MSG_EMBEDDING },
	{ "encoder", required_argument, NULL, OPT_NAME + MSG_ENCODER },
	{ "decoder", required_argument, NULL, OPT_NAME + MSG_DECODER },
	{ "output", required_argument, NULL, OPT_NAME + MSG_OUTPUT },
	{ NULL, 0, NULL, 0 },
};

static bool number(const char *option, const char *text, long min, long max, long *out)
{
	char *end;

	errno = 0;
	*out = strtol(text, &end, 10);
	if (!errno && end != text && !*end && *out >= min && *out <= max)
		return true;
	fprintf(stderr, "%s: --%s takes a number from %ld to %ld, not '%s'\n", program, option,
		min, max, text);
	return false;
}

/* 0, or what parse_options() shall return. */
static int set_option(struct stage_options *o, int c)
{
	long v = 0;

	switch (c) {
	case 'm':
		o->model = optarg;
		return 0;
	case 'c':
		o->n_ctx = number("ctx", optarg, 2, MSG_MAX_CTX, &v) ? (uint32_t)v : 0;
		return o->n_ctx ? 0 : -EINVAL;
	case 'n':
		o->max_streams = number("max-streams", optarg, 1, 4096, &v) ? (uint32_t)v : 0;
		return o->max_streams ? 0 : -EINVAL;
	case OPT_CHUNK:
		o->chunk = number("chunk", optarg, 1, 65536, &v) ? (uint32_t)v : 0;
		return o->chunk ? 0 : -EINVAL;
	case OPT_BATCH:
		o->batch = number("batch", optarg, 1, STAGE_MAX_BATCH, &v) ? (uint32_t)v : 0;
		return o->batch ? 0 : -EINVAL;
	case OPT_CPU:
		if (!number("cpu", optarg, 0, CPU_SETSIZE - 1, &v))
			return -EINVAL;
		o->cpu = (int)v;
		return 0;
	case OPT_SPIN:
		if (!number("spin-us", optarg, 0, 1000000, &v))
			return -EINVAL;
		o->spin_us = (unsigned int)v;
		return 0;
	case OPT_NO_URING:
		o->no_uring = true;
		return 0;
	case 'v':
		o->verbose = true;
		return 0;
	default:
		if (c < OPT_NAME || c >= OPT_NAME + MSG_CLIENT)
			return -EINVAL;
		o->names[c - OPT_NAME] = optarg;
		return 0;
	}
}

/* 0, 1 = help was given, or -EINVAL after a line that says why. */
static int parse_options(struct stage_options *o, const struct stage_ops *ops, int argc,
			 char **argv)
{
	int c, ret;

	*o = (struct stage_options){
		.n_ctx = 2048, .max_streams = 8, .chunk = 256, .batch = 8, .cpu = -1,
		.spin_us = 50,
	};
	for (int i = 0; i < MSG_CLIENT; i++)
		o->names[i] = msg_stage_name((unsigned int)i);
	while ((c = getopt_long(argc, argv, "m:c:n:vh", long_options, NULL)) != -1) {
		if (c == 'h') {
			usage(ops, stdout);
			return 1;
		}
		ret = set_option(o, c);
		if (ret) {
			if (c == '?')
				fprintf(stderr, "%s: see --help\n", program);
			return ret;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "%s: unexpected argument '%s': see --help\n", program,
			argv[optind]);
		return -EINVAL;
	}
	if (!o->model) {
		fprintf(stderr, "%s: which model? give --model FILE.gguf\n", program);
		return -EINVAL;
	}
	return 0;
}

/* ----------------------------------------------------------- start and end --- */

static void on_signal(int sig)
{
	signals++;
	if (signal_ctx)
		sluice_interrupt(signal_ctx);
}

int stage_draining(const struct stage *st)
{
	return signals;
}

static void catch_signals(void)
{
	struct sigaction sa = { .sa_handler = on_signal };

	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static int pin(int cpu)
{
	cpu_set_t set;

	if (cpu < 0)
		return 0;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (!sched_setaffinity(0, sizeof(set), &set))
		return 0;
	stage_log("cannot run on processor %d: %s: see `nproc`, or leave --cpu out", cpu,
		  strerror(errno));
	return -EINVAL;
}

/* The readiness protocol of sd_notify(3), for whoever set NOTIFY_SOCKET. */
static void notify_ready(void)
{
	static const char text[] = "READY=1";
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	size_t len = path ? strlen(path) : 0;
	int fd;

	if (!len || len >= sizeof(addr.sun_path) || (path[0] != '/' && path[0] != '@'))
		return;
	memcpy(addr.sun_path, path, len);
	if (path[0] == '@')
		addr.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (sendto(fd, text, sizeof(text) - 1, MSG_NOSIGNAL, (struct sockaddr *)&addr,
		   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0)
		stage_log("cannot tell %s that the stage is ready: %s", path, strerror(errno));
	close(fd);
}

static int attach_outputs(struct stage *st)
{
	int ret = sluice_ctx_create(st->opt.no_uring ? SLUICE_CTX_NO_URING : 0, &st->ctx);

	if (ret) {
		stage_log("%s", sluice_error());
		return ret;
	}
	sluice_ctx_spin_us(st->ctx, st->opt.spin_us);
	signal_ctx = st->ctx;
	for (int i = 0; i < MSG_CLIENT; i++) {
		if (!(st->ops->outputs & 1u << i))
			continue;
		ret = sluice_attach(st->ctx, st->opt.names[i], SLUICE_PRODUCER, 0, &st->out[i]);
		if (ret) {
			stage_log("%s", sluice_error());
			return ret;
		}
	}
	return 0;
}

/* Being attached as a consumer is what others take for "ready": it comes last. */
static int attach_input(struct stage *st)
{
	const char *name = st->opt.names[st->ops->self];
	int ret = sluice_attach(st->ctx, name, SLUICE_CONSUMER, 0, &st->in);

	if (ret)
		stage_log("%s", sluice_error());
	return ret;
}

static void shut(struct stage *st)
{
	if (st->ops->close)
		st->ops->close(st);
	trouble_free(st);
	sluice_detach(st->in);
	for (int i = 0; i < MSG_CLIENT; i++)
		sluice_detach(st->out[i]);
	signal_ctx = NULL;
	sluice_ctx_destroy(st->ctx);
}

int stage_main(int argc, char **argv, const struct stage_ops *ops)
{
	static struct stage stage;
	struct stage *st = &stage;
	struct model_error err = { .text = "" };
	int ret;

	program = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
	st->ops = ops;
	ret = parse_options(&st->opt, ops, argc, argv);
	if (ret)
		return ret < 0 ? 2 : 0;
	catch_signals();
	ret = pin(st->opt.cpu);
	if (!ret)
		ret = attach_outputs(st);
	if (!ret)
		ret = trouble_create(st);
	if (!ret) {
		ret = ops->open(st, &err);
		if (ret)
			stage_log("%s", err.text[0] ? err.text : strerror(-ret));
	}
	if (!ret && !signals)
		ret = attach_input(st);
	if (!ret && !signals) {
		stage_log("ready: %s, %u tokens of context, %u streams", st->opt.model,
			  st->opt.n_ctx, st->opt.max_streams);
		notify_ready();
	}
	if (!ret && st->in)
		ret = stage_loop(st);
	shut(st);
	return ret ? 1 : 0;
}
