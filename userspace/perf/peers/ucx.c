// SPDX-License-Identifier: MIT
/*
 * ucx.c: UCX, tagged messages over shared memory
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucp/api/ucp.h>
#include <unistd.h>

#include "program.h"

#define TAG		1
#define WINDOW_MAX	64u
#define WINDOW_BYTES	(16u << 20)

/* A message that is being sent, or that a receive was posted for. */
struct slot {
	void *data;
	void *request;		/* NULL: none under way */
	size_t size;		/* received */
	bool done;		/* received */
};

/*
 * Receives are posted ahead, as the authors advise, so that a message goes straight into its buffer
 * instead of a list of unexpected ones; sends are let go of when their slot is needed again.
 */
static struct {
	ucp_context_h context;
	ucp_worker_h worker;
	ucp_ep_h peer;
	int fd;			/* to sleep on */
	unsigned int window;
	unsigned int in_next, out_next;
	struct slot in[WINDOW_MAX], out[WINDOW_MAX];
} u;

static const struct program_peer ucx;

static void check(ucs_status_t status, const char *what)
{
	if (status != UCS_OK)
		program_fail("%s: %s", what, ucs_status_string(status));
}

/* ------------------------------------------------------------- opening --- */

static void make_worker(struct program *p)
{
	ucp_params_t params = {
		.field_mask	= UCP_PARAM_FIELD_FEATURES,
		.features	= UCP_FEATURE_TAG | (p->spin ? 0 : UCP_FEATURE_WAKEUP),
	};
	ucp_worker_params_t worker = {
		.field_mask	= UCP_WORKER_PARAM_FIELD_THREAD_MODE,
		.thread_mode	= UCS_THREAD_MODE_SINGLE,
	};
	ucp_config_t *config;

	check(ucp_config_read(NULL, NULL, &config), "ucp_config_read");
	/* All of shared memory that there is: posix, sysv; cma to read large messages in place. */
	check(ucp_config_modify(config, "TLS", "shm"), "UCX_TLS=shm");
	check(ucp_init(&params, config, &u.context), "ucp_init");
	ucp_config_release(config);
	check(ucp_worker_create(u.context, &worker, &u.worker), "ucp_worker_create");
	if (!p->spin)
		check(ucp_worker_get_efd(u.worker, &u.fd), "ucp_worker_get_efd");
}

static void write_address(struct program *p)
{
	char *path = program_path(p, "", p->ping ? "ping.address" : "pong.address");
	ucp_address_t *address;
	size_t size;
	FILE *f;

	check(ucp_worker_get_address(u.worker, &address, &size), "ucp_worker_get_address");
	f = fopen(path, "we");
	if (!f || fwrite(address, 1, size, f) != size || fclose(f))
		program_fail("%s: %s", path, strerror(errno));
	ucp_worker_release_address(u.worker, address);
	free(path);
}

static void post(struct program *p, struct slot *s);

static void ucx_open(struct program *p)
{
	u.window = (unsigned int)(WINDOW_BYTES / p->size);
	if (u.window > WINDOW_MAX)
		u.window = WINDOW_MAX;
	if (u.window > p->slots)
		u.window = p->slots;
	make_worker(p);
	write_address(p);
	for (unsigned int i = 0; i < u.window; i++) {
		u.in[i].data = program_buffer(p->size);
		u.out[i].data = program_buffer(p->size);
		post(p, &u.in[i]);
	}
}

static void ucx_joined(struct program *p)
{
	char *path = program_path(p, "", p->ping ? "pong.address" : "ping.address");
	static char address[65536];
	ucp_ep_params_t params = {
		.field_mask	= UCP_EP_PARAM_FIELD_REMOTE_ADDRESS,
		.address	= (const ucp_address_t *)address,
	};
	FILE *f = fopen(path, "re");

	if (!f || !fread(address, 1, sizeof(address), f))
		program_fail("%s: %s", path, strerror(errno));
	fclose(f);
	free(path);
	check(ucp_ep_create(u.worker, &params, &u.peer), "ucp_ep_create");
}

static void ucx_close(struct program *p)
{
	/* Receives that will not be served are called back, or the library complains of each. */
	for (unsigned int i = 0; i < u.window; i++)
		if (u.in[i].request && !UCS_PTR_IS_ERR(u.in[i].request))
			ucp_request_cancel(u.worker, u.in[i].request);
	if (u.worker)
		ucp_worker_destroy(u.worker);
	if (u.context)
		ucp_cleanup(u.context);
}

/* ------------------------------------------------------------ messages --- */

/* One step; when there is nothing to do and sleeping is wanted, it sleeps until there is. */
static inline void step(struct program *p)
{
	struct pollfd fd = { .fd = u.fd, .events = POLLIN };
	ucs_status_t status;

	if (ucp_worker_progress(u.worker) || p->spin)
		return;
	status = ucp_worker_arm(u.worker);
	if (status == UCS_ERR_BUSY)
		return;
	check(status, "ucp_worker_arm");
	if (poll(&fd, 1, -1) < 0 && errno != EINTR)
		program_fail("poll: %s", strerror(errno));
}

static void received(void *request, ucs_status_t status, const ucp_tag_recv_info_t *info,
		     void *user_data)
{
	struct slot *s = user_data;

	if (status != UCS_ERR_CANCELED)
		check(status, "a receive");
	s->size = info->length;
	s->done = true;
	s->request = NULL;
	ucp_request_free(request);
}

static void post(struct program *p, struct slot *s)
{
	const ucp_request_param_t param = {
		.op_attr_mask	= UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA |
				  UCP_OP_ATTR_FLAG_NO_IMM_CMPL,
		.cb.recv	= received,
		.user_data	= s,
	};

	s->done = false;
	s->request = ucp_tag_recv_nbx(u.worker, s->data, p->size, TAG, ~0ull, &param);
	if (UCS_PTR_IS_ERR(s->request))
		program_fail("ucp_tag_recv_nbx: %s", ucs_status_string(UCS_PTR_STATUS(s->request)));
	/* What came before anybody waited for it has been received by now, and the request is gone. */
	if (s->done)
		s->request = NULL;
}

static inline void settle(struct program *p, struct slot *s)
{
	if (!s->request)
		return;
	while (ucp_request_check_status(s->request) == UCS_INPROGRESS)
		step(p);
	check(ucp_request_check_status(s->request), "a send");
	ucp_request_free(s->request);
	s->request = NULL;
}

static void *ucx_begin(struct program *p, size_t size)
{
	struct slot *s = &u.out[u.out_next];

	settle(p, s);
	return s->data;
}

static void ucx_send(struct program *p, size_t size)
{
	static const ucp_request_param_t param;
	struct slot *s = &u.out[u.out_next];

	s->request = ucp_tag_send_nbx(u.peer, s->data, size, TAG, &param);
	if (UCS_PTR_IS_ERR(s->request))
		program_fail("ucp_tag_send_nbx: %s", ucs_status_string(UCS_PTR_STATUS(s->request)));
	u.out_next = u.out_next + 1 == u.window ? 0 : u.out_next + 1;
}

static const void *ucx_receive(struct program *p, size_t *size)
{
	struct slot *s = &u.in[u.in_next];

	while (!s->done)
		step(p);
	*size = s->size;
	return s->data;
}

static void ucx_release(struct program *p)
{
	post(p, &u.in[u.in_next]);
	u.in_next = u.in_next + 1 == u.window ? 0 : u.in_next + 1;
}

static void ucx_flush(struct program *p)
{
	for (unsigned int i = 0; i < u.window; i++)
		settle(p, &u.out[i]);
}

static const struct program_way way = {
	.begin		= ucx_begin,
	.send		= ucx_send,
	.receive	= ucx_receive,
	.release	= ucx_release,
};

PROGRAM_WORKS(ucx, way, way, way)

static const struct program_peer ucx = {
	.name		= "ucx",
	.open		= ucx_open,
	.joined		= ucx_joined,
	.flush		= ucx_flush,
	.close		= ucx_close,
	.way		= &way,
	.round		= ucx_round,
	.flow		= ucx_flow,
	.payload	= ucx_payload,
};

int main(int argc, char **argv)
{
	return program_main(argc, argv, &ucx);
}
