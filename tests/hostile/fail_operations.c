// SPDX-License-Identifier: MIT
/* fail_operations.c: what fail_nth tries, and what must be true afterwards. */
#include <liburing.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "fail_nth.h"
#include "kmod_common.h"
#include "kmod_uring.h"

struct world {
	struct ends r;
	struct io_uring ring;
	int fd, result;
	u64 ticket, token;
	char bytes[2 * PAGE];
	struct sluice_send send;
};

/* The one world, as new. */
struct world *world_new(void)
{
	static struct world w;

	memset(&w, 0, sizeof(w));
	w.fd = -1;
	return &w;
}

static const struct sluice_create small = { .nbufs = 4, .bufsize = PAGE };
static const struct sluice_create lettered = {
	.nbufs = 4, .bufsize = PAGE, .dead_slots = 4, .max_attempts = 1,
};
static const struct sluice_create stopping = {
	.nbufs = 4, .bufsize = PAGE, .dead_slots = 4, .max_attempts = 1,
	.flags = SLUICE_CREATE_DEAD_STOPS, .ack_timeout_ms = 40,
};

static const struct sluice_create broadcast = {
	.nbufs = 4, .bufsize = PAGE, .policy = SLUICE_POLICY_BROADCAST,
};

static int none(struct world *w)
{
	return 0;
}

static void destroy_t(struct world *w)
{
	stage_destroy("t", 0, SLUICE_DESTROY_FORCE);
}

static int make_stage(struct world *w)
{
	w->r.out.fd = w->r.in.fd = w->fd = -1;
	return stage_create("t", small);
}

static int make_both(struct world *w)
{
	w->fd = -1;
	return ends_make(&w->r, small, 0);
}

static int make_lettered(struct world *w)
{
	w->fd = -1;
	return ends_make(&w->r, lettered, 0);
}

static void undo_both(struct world *w)
{
	if (w->fd >= 0)
		close(w->fd);
	w->fd = -1;
	ends_close(&w->r);
}

/* As it was, whether it worked or not. */
static int check_both(struct world *w, int result)
{
	return state_await("t", 0, (struct state) { BOTH });
}

/* create: there, with all its parts, or not there at all, with none of them */
static int check_created(struct world *w, int result, bool dead)
{
	struct state s;
	int err = state_get("t", &s), err_dead = state_get("t.dead", &s);

	if (result)
		return err == -ENOENT && err_dead == -ENOENT && access(NODE "t", F_OK) ? 0 :
		       -EEXIST;
	return err ?: (err_dead == (dead ? 0 : -ENOENT) && !access(NODE "t", F_OK)) ? 0 : -ENOENT;
}

static int run_create(struct world *w)
{
	return stage_create("t", small);
}

static int check_create(struct world *w, int result)
{
	return check_created(w, result, false);
}

static int run_create_dead(struct world *w)
{
	return stage_create("t", lettered);
}

static int check_create_dead(struct world *w, int result)
{
	return check_created(w, result, true);
}

static int run_create_broadcast(struct world *w)
{
	return stage_create("t", broadcast);
}

static int run_open(struct world *w)
{
	w->fd = stage_open("t", O_RDWR);
	return w->fd < 0 ? w->fd : 0;
}

static int check_stage(struct world *w, int result)
{
	return state_await("t", 0, (struct state) { 0 });
}

static void undo_open(struct world *w)
{
	if (w->fd >= 0)
		close(w->fd);
	w->fd = -1;
	destroy_t(w);
}

static int make_open(struct world *w)
{
	int err = make_stage(w);

	w->fd = err ? err : stage_open("t", O_RDWR | O_NONBLOCK);
	return w->fd < 0 ? w->fd : 0;
}

static int run_attach(struct world *w)
{
	struct sluice_attach a;

	return attach_raw(w->fd, SLUICE_CONSUMER, 0, &a);
}

/* A copy out that fails comes after the attachment, which stays: the descriptor is attached. */
static int check_attach(struct world *w, int result)
{
	if (!result || result == -EFAULT)
		return state_await("t", 0, (struct state) { .consumers = result == 0 }) ?
		       state_await("t", 0, (struct state) { .consumers = 1 }) : 0;
	return state_await("t", 0, (struct state) { 0 });
}

static int make_open_broadcast(struct world *w)
{
	int err;

	w->r.out.fd = w->r.in.fd = w->fd = -1;
	err = stage_create("t", broadcast);
	w->fd = err ? err : stage_open("t", O_RDWR | O_NONBLOCK);
	return w->fd < 0 ? w->fd : 0;
}

static int run_attach_oldest(struct world *w)
{
	struct sluice_attach a;

	return attach_raw(w->fd, SLUICE_CONSUMER, SLUICE_ATTACH_OLDEST, &a);
}

/* Whoever is not attached has no bit, or a message would wait for it for ever. */
static int check_attach_oldest(struct world *w, int result)
{
	struct end in;
	int err = check_attach(w, result);

	if (err || !result || result == -EFAULT)
		return err;
	err = end_make(&in, "t", SLUICE_CONSUMER, 0);
	if (!err)
		err = in.hints->recipients == 1 ? 0 : -EPROTO;
	end_close(&in);
	return err;
}

static int run_attach_sole(struct world *w)
{
	struct sluice_attach a;

	return attach_raw(w->fd, SLUICE_PRODUCER, SLUICE_ATTACH_SOLE, &a);
}

static int check_attach_sole(struct world *w, int result)
{
	struct state s;
	int err = state_get("t", &s);

	/* the ring is nobody's own when the attachment failed */
	return err ?: s.producers == s.sole && (result || s.sole) ? 0 : -EBUSY;
}

static int run_write_first(struct world *w)
{
	long n = write(w->fd, "x", 1);

	return n < 0 ? -errno : n == 1 ? 0 : -EPROTO;
}

static int check_write_first(struct world *w, int result)
{
	struct state s;
	int err = state_get("t", &s);

	return err ?: s.ready == !result && s.producers <= 1 && !s.buffers ? 0 : -EPROTO;
}

static int run_map(struct world *w)
{
	void *p = map_at(w->r.in.fd, SLUICE_MMAP_CONTROL, w->r.in.control_bytes,
			 PROT_READ | PROT_WRITE);

	if (p == MAP_FAILED)
		return -errno;
	return munmap(p, w->r.in.control_bytes) ? -errno : 0;
}

/* The first touch of every page, asked for so that its failure can be told. */
static int run_populate(struct world *w)
{
	struct end *e = &w->r.out;

	if (madvise(e->control, e->control_bytes, 23 /* MADV_POPULATE_WRITE */))
		return -errno;
	return madvise(e->payload, e->payload_bytes, 23) ? -errno : 0;
}

/* The same by a plain store, which the kernel tries again. */
static int run_touch(struct world *w)
{
	struct end *e = &w->r.out;

	*(volatile char *)(e->payload + PAGE) = 1;
	*(volatile u64 *)end_word(e, 40) = *(volatile u64 *)end_word(e, 40);
	return 0;
}

static int send_with(struct world *w, u32 len, u32 flags)
{
	w->send = (struct sluice_send) {
		.size = sizeof(w->send), .flags = flags, .addr = (u64)(uintptr_t)w->bytes,
		.len = len,
	};
	return call(w->r.out.fd, SLUICE_IOC_SEND, &w->send);
}

static int run_send(struct world *w)
{
	return send_with(w, 10, SLUICE_SEND_ACCEPT);
}

static int run_send_buffer(struct world *w)
{
	return send_with(w, 3000, SLUICE_SEND_ACCEPT);
}

/* Nothing, one in the ring, or one that waits in the queue until there is memory. */
static int check_sent(struct world *w, int result)
{
	struct state s;
	int err = state_get("t", &s);

	if (err)
		return err;
	return s.ready + s.queued == (result >= 0) && s.sends == (result >= 0) &&
	       s.buffers == (result >= 0 && w->send.len > SLUICE_INLINE_MAX) ? 0 : -EPROTO;
}

static int run_write(struct world *w)
{
	long n = write(w->r.out.fd, w->bytes, 3000);

	return n < 0 ? -errno : n == 3000 ? 0 : -EPROTO;
}

static int check_write(struct world *w, int result)
{
	return state_await("t", 0, (struct state) { BOTH, .ready = !result, .buffers = !result });
}

static int make_written(struct world *w)
{
	int err = make_both(w);
	long n;

	if (err)
		return err;
	n = write(w->r.out.fd, w->bytes, 3000);
	return n == 3000 ? 0 : -EPROTO;
}

static int run_read(struct world *w)
{
	long n = read(w->r.in.fd, w->bytes, sizeof(w->bytes));

	return n < 0 ? -errno : n == 3000 ? 0 : -EPROTO;
}

/* A reader that could not copy gives the message back. */
static int check_read(struct world *w, int result)
{
	return state_await("t", 0, (struct state) {
		BOTH, .ready = !!result, .buffers = !!result, .redelivered = !!result });
}

static int run_wait(struct world *w)
{
	int err = end_wait(&w->r.in, SLUICE_WAIT_READY, w->r.in.cursor + NSLOTS, 1000);

	return err == -EAGAIN ? 0 : err;
}

static int run_poll(struct world *w)
{
	struct pollfd p = { .fd = w->r.in.fd, .events = POLLIN };
	int n = poll(&p, 1, 0);

	return n < 0 ? -errno : 0;
}

static int run_epoll(struct world *w)
{
	struct epoll_event e = { .events = EPOLLIN };
	int ret;

	w->fd = epoll_create1(EPOLL_CLOEXEC);
	if (w->fd < 0)
		return -errno;
	ret = epoll_ctl(w->fd, EPOLL_CTL_ADD, w->r.in.fd, &e) ? -errno : 0;
	close(w->fd);
	w->fd = -1;
	return ret;
}

static int make_ring(struct world *w)
{
	int err = make_both(w);

	return err ?: io_uring_queue_init(8, &w->ring, 0);
}

static void undo_ring(struct world *w)
{
	io_uring_queue_exit(&w->ring);
	undo_both(w);
}

/* One command; what its completion says, or that it is parked. */
static int submit_and_look(struct world *w)
{
	struct io_uring_cqe *cqe;
	int ret = io_uring_submit(&w->ring);

	if (ret < 0)
		return ret;
	if (io_uring_peek_cqe(&w->ring, &cqe))
		return 0;
	ret = cqe->res;
	io_uring_cqe_seen(&w->ring, cqe);
	return ret > 0 ? 0 : ret;
}

static int run_uring_wait(struct world *w)
{
	command_wait(&w->ring, &w->r.in, SLUICE_WAIT_READY, w->r.in.cursor + NSLOTS, 1);
	return submit_and_look(w);
}

static int check_uring_wait(struct world *w, int result)
{
	struct sluice_info i;
	int err = stage_info("t", &i);

	return err ?: i.ready_sleepers == !result ? 0 : -EPROTO;
}

static int run_uring_send(struct world *w)
{
	w->send = send_text("hello", 0);
	command_send(&w->ring, w->r.out.fd, &w->send, 1);
	return submit_and_look(w);
}

static int check_uring_send(struct world *w, int result)
{
	int err = check_sent(w, result);
	u64 ticket, token;

	if (err || result)
		return err;
	/* What was accepted comes, once there is memory, and its sender is told. This task is both:
	 * the sender's part of the work interrupts the wait.
	 */
	do {
		err = end_await(&w->r.in, &ticket, &token, scaled(1000));
	} while (err == -EINTR);
	err = err ?: end_ack(&w->r.in, ticket, token);
	return err ?: completion(&w->ring, scaled(1000), NULL) >= 0 ? 0 : -ENOMSG;
}

static int make_full(struct world *w)
{
	int err = make_ring(w);
	u32 i;

	for (i = 0; i < NSLOTS && !err; i++)
		err = end_send(&w->r.out, "x", NULL);
	return err;
}

/* The ring is full: the kernel keeps it. */
static int check_queued(struct world *w, int result)
{
	u64 ticket, token;
	int err = state_await("t", 0, (struct state) {
		BOTH, .ready = NSLOTS, .queued = result >= 0, .sends = result >= 0,
		.buffers = result >= 0 });

	err = err ?: end_claim(&w->r.in, &ticket, &token);
	err = err ?: end_ack(&w->r.in, ticket, token);
	return err ?: state_await("t", scaled(2000), (struct state) {
		BOTH, .ready = NSLOTS - (result < 0), .sends = result >= 0,
		.buffers = result >= 0 });
}

static int claim_one(struct world *w)
{
	int err = end_send(&w->r.out, "x", NULL);

	return err ?: end_claim(&w->r.in, &w->ticket, &w->token);
}

static int make_claimed(struct world *w)
{
	return make_both(w) ?: claim_one(w);
}

static int make_claimed_lettered(struct world *w)
{
	return make_lettered(w) ?: claim_one(w);
}

static int make_claimed_stopping(struct world *w)
{
	w->fd = -1;
	return ends_make(&w->r, stopping, 0) ?: claim_one(w);
}

static int run_renew(struct world *w)
{
	return end_renew(&w->r.in, w->ticket, w->token);
}

static int check_claimed(struct world *w, int result)
{
	return state_await("t", 0, (struct state) { BOTH, .claimed = 1 });
}

static int run_nack(struct world *w)
{
	return end_nack(&w->r.in, w->ticket, w->token, 0, 0, EIO);
}

static int check_nacked(struct world *w, int result)
{
	bool done = !result;

	return state_await("t", 0, (struct state) {
		BOTH, .claimed = !done, .ready = done, .nacks = done, .redelivered = done });
}

static int run_nack_later(struct world *w)
{
	return end_nack(&w->r.in, w->ticket, w->token, SLUICE_NACK_BUSY, 5, EIO);
}

/* Without memory for the kernel's notes the claim stays the consumer's, who is told -ENOMEM. */
static int check_nack_later(struct world *w, int result)
{
	return state_await("t", result ? 0 : scaled(2000), (struct state) {
		BOTH, .claimed = !!result, .ready = !result, .nacks = !result,
		.redelivered = !result });
}

static int run_nack_dead(struct world *w)
{
	return end_nack(&w->r.in, w->ticket, w->token, SLUICE_NACK_DEAD, 0, EIO);
}

/* A letter, or one that is counted as dropped; never neither. */
static int check_buried(struct world *w, int result)
{
	struct state s, d;
	int err = state_get("t", &s) ?: state_get("t.dead", &d);

	if (err)
		return err;
	if (result)
		return s.claimed == 1 && !d.ready ? 0 : -EPROTO;
	return !s.claimed && !s.dead && s.dead_letters == 1 && d.ready + d.dead_dropped == 1 &&
	       d.buffers == d.ready ? 0 : -EPROTO;
}

/* A lane that stops rather than lose a letter waits for the memory. */
static int check_buried_stopping(struct world *w, int result)
{
	int err = state_await("t", scaled(3000), (struct state) {
		BOTH, .claimed = !!result, .nacks = !result, .dead_letters = !result });

	return err ?: state_await("t.dead", 0, (struct state) {
		.ready = !result, .buffers = !result });
}

static int run_info(struct world *w)
{
	struct sluice_info i;

	return stage_info("t", &i);
}

static int run_endpoint(struct world *w)
{
	struct sluice_endpoint_info e = { .size = sizeof(e), .name = "t" };

	return control(SLUICE_IOC_ENDPOINT, &e);
}

static int run_destroy(struct world *w)
{
	return stage_destroy("t", 0, 0);
}

static int check_destroyed(struct world *w, int result)
{
	struct state s;

	return state_get("t", &s) == (result ? 0 : -ENOENT) ? 0 : -EEXIST;
}

static int run_destroy_force(struct world *w)
{
	return stage_destroy("t", 0, SLUICE_DESTROY_FORCE);
}

static int run_detach(struct world *w)
{
	return call(w->r.in.fd, SLUICE_IOC_DETACH, NULL);
}

/* What it held is somebody else's, memory or not. */
static int check_detached(struct world *w, int result)
{
	if (result)
		return check_claimed(w, result);
	return state_await("t", 0, (struct state) {
		.producers = 1, .ready = 1, .redelivered = 1, .deaths = 1, .evictions = 0 });
}

static int run_fork(struct world *w)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(0);
	if (pid < 0)
		return -errno;
	return waitpid(pid, &status, 0) == pid && !status ? 0 : -ECHILD;
}

static int run_insert(struct world *w)
{
	return module_insert("");
}

static int check_inserted(struct world *w, int result)
{
	/* the node is made by another task, a moment later when it has to */
	return (access("/sys/module/sluice", F_OK) == 0) == !result ? 0 : -EPROTO;
}

static void undo_insert(struct world *w)
{
	syscall(SYS_delete_module, "sluice", O_NONBLOCK);
}

#define OPERATION(n, p, r, c, u)	{ .name = n, .prepare = p, .run = r, .check = c, .undo = u }

const struct operation operations[] = {
	OPERATION("create", none, run_create, check_create, destroy_t),
	OPERATION("create_dead", none, run_create_dead, check_create_dead, destroy_t),
	OPERATION("create_broadcast", none, run_create_broadcast, check_create, destroy_t),
	OPERATION("open", make_stage, run_open, check_stage, undo_open),
	OPERATION("attach", make_open, run_attach, check_attach, undo_open),
	OPERATION("attach_oldest", make_open_broadcast, run_attach_oldest, check_attach_oldest,
		  undo_open),
	OPERATION("attach_sole", make_open, run_attach_sole, check_attach_sole, undo_open),
	OPERATION("write_first", make_open, run_write_first, check_write_first, undo_open),
	OPERATION("mmap", make_both, run_map, check_both, undo_both),
	OPERATION("populate", make_both, run_populate, check_both, undo_both),
	OPERATION("touch", make_both, run_touch, check_both, undo_both),
	OPERATION("send", make_both, run_send, check_sent, undo_both),
	OPERATION("send_buffer", make_both, run_send_buffer, check_sent, undo_both),
	OPERATION("write", make_both, run_write, check_write, undo_both),
	OPERATION("read", make_written, run_read, check_read, undo_both),
	OPERATION("wait", make_both, run_wait, check_both, undo_both),
	OPERATION("poll", make_both, run_poll, check_both, undo_both),
	OPERATION("epoll", make_both, run_epoll, check_both, undo_both),
	OPERATION("uring_wait", make_ring, run_uring_wait, check_uring_wait, undo_ring),
	OPERATION("uring_send", make_ring, run_uring_send, check_uring_send, undo_ring),
	OPERATION("queue", make_full, run_send_buffer, check_queued, undo_ring),
	OPERATION("renew", make_claimed, run_renew, check_claimed, undo_both),
	OPERATION("nack", make_claimed, run_nack, check_nacked, undo_both),
	OPERATION("nack_later", make_claimed, run_nack_later, check_nack_later, undo_both),
	OPERATION("dead_letter", make_claimed_lettered, run_nack_dead, check_buried, undo_both),
	OPERATION("dead_letter_stops", make_claimed_stopping, run_nack_dead,
		  check_buried_stopping, undo_both),
	OPERATION("detach", make_claimed, run_detach, check_detached, undo_both),
	OPERATION("info", make_both, run_info, check_both, undo_both),
	OPERATION("endpoint", make_both, run_endpoint, check_both, undo_both),
	OPERATION("fork", make_both, run_fork, check_both, undo_both),
	OPERATION("destroy", make_stage, run_destroy, check_destroyed, destroy_t),
	OPERATION("destroy_force", make_both, run_destroy_force, check_destroyed, undo_both),
	{
		.name = "insmod", .prepare = none, .run = run_insert, .check = check_inserted,
		.undo = undo_insert, .first = module_loader_allocations,
	},
	{ .name = NULL },
};
