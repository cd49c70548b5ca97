// SPDX-License-Identifier: MIT
/* setup.c: contexts; attach, map and detach endpoints. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"

#define SPIN_US_DEFAULT	50
#define CTX_FLAGS	(SLUICE_CTX_NO_URING | SLUICE_CTX_NO_SPIN | SLUICE_CTX_SPIN)
/* A small control region is faulted in at once, so that no message pays for it. */
#define POPULATE_MAX	(4u << 20)

/* ------------------------------------------------------------- contexts --- */

/*
 * A spinning waiter on the only processor keeps away whom it waits for. Being pinned to one of
 * several says nothing: whom it waits for may be pinned to another. (Where both share one,
 * spinning does not pay, and each endpoint learns that.)
 */
static bool several_processors(void)
{
	return sysconf(_SC_NPROCESSORS_ONLN) > 1;
}

static bool uring_unwanted(unsigned int flags)
{
	const char *env = getenv("SLUICE_NO_URING");

	return flags & SLUICE_CTX_NO_URING || (env && *env && strcmp(env, "0"));
}

int sluice_ctx_create(unsigned int flags, struct sluice_ctx **out)
{
	struct sluice_ctx *ctx;

	if (flags & ~CTX_FLAGS)
		return __sluice_err(-EINVAL, "context: unknown flags 0x%x", flags & ~CTX_FLAGS);
	if ((flags & SLUICE_CTX_SPIN) && (flags & SLUICE_CTX_NO_SPIN))
		return __sluice_err(-EINVAL, "context: SPIN and NO_SPIN exclude each other");
	ctx = calloc(1, sizeof(*ctx));
	if (!ctx)
		return __sluice_err(-ENOMEM, "context: out of memory");
	ctx->flags = flags;
	ctx->may_spin = !(flags & SLUICE_CTX_NO_SPIN) && several_processors();
	ctx->spin_ns = SPIN_US_DEFAULT * 1000ull;
	ctx->done.tail = &ctx->done.head;
	ctx->told.tail = &ctx->told.head;
	pthread_mutex_init(&ctx->done_lock, NULL);
	ctx->intr_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ctx->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (ctx->intr_fd < 0 || ctx->done_fd < 0) {
		int ret = -errno;

		sluice_ctx_destroy(ctx);
		return __sluice_err(ret, "context: no event descriptor: %s; raise ulimit -n",
				    strerror(-ret));
	}
	/* Where io_uring is forbidden, poll and ioctl do the whole job. */
	ctx->uring = !uring_unwanted(flags) && !__sluice_uring_init(ctx);
	*out = ctx;
	return 0;
}

void sluice_ctx_destroy(struct sluice_ctx *ctx)
{
	if (!ctx)
		return;
	while (ctx->eps)
		sluice_detach(ctx->eps);
	if (ctx->uring)
		__sluice_uring_exit(ctx);
	/* The ring is gone, and with it whatever pointed to them. */
	while (ctx->zombies) {
		struct sluice_ep *ep = ctx->zombies;

		ctx->zombies = ep->next;
		free(ep->sending);
		free(ep);
	}
	__sluice_send_exit(ctx);
	if (ctx->intr_fd >= 0)
		close(ctx->intr_fd);
	if (ctx->done_fd >= 0)
		close(ctx->done_fd);
	pthread_mutex_destroy(&ctx->done_lock);
	free(ctx);
}

void sluice_ctx_spin_us(struct sluice_ctx *ctx, unsigned int us)
{
	ctx->spin_ns = us * 1000ull;
}

bool sluice_ctx_uses_uring(const struct sluice_ctx *ctx)
{
	return ctx->uring;
}

void sluice_interrupt(struct sluice_ctx *ctx)
{
	uint64_t one = 1;
	int saved = errno;
	ssize_t ignored;

	__atomic_store_n(&ctx->interrupted, 1, __ATOMIC_SEQ_CST);
	/* Only full if it was raised 2^64 times and never cleared. */
	ignored = write(ctx->intr_fd, &one, sizeof(one));
	(void)ignored;
	errno = saved;
}

void sluice_interrupt_clear(struct sluice_ctx *ctx)
{
	uint64_t value;
	ssize_t ignored;

	/* The descriptor first: an interrupt in between stays visible in the flag or in it. */
	ignored = read(ctx->intr_fd, &value, sizeof(value));
	(void)ignored;
	__atomic_store_n(&ctx->interrupted, 0, __ATOMIC_SEQ_CST);
}

/* --------------------------------------------------------------- attach --- */

static int open_failed(const char *stage, const char *path)
{
	int err = errno;
	struct stat st;

	switch (err) {
	case ENOENT:
		if (access(SLUICE_DEV_CONTROL, F_OK))
			return __sluice_err(-ENOENT, SLUICE_NO_MODULE);
		return __sluice_err(-ENOENT, "stage '%s': no such stage (%s); "
				    "create it with: sluicectl create %s", stage, path, stage);
	case ENXIO:	/* its node was looked up, then it was destroyed */
		return __sluice_err(-ENOENT, "stage '%s': no such stage any more", stage);
	case EACCES:
	case EPERM:
		if (stat(path, &st))
			memset(&st, 0, sizeof(st));
		return __sluice_err(-EACCES, "stage '%s': no permission for %s (mode %04o, owner "
				    "%u:%u); run as its owner, or create it with another --mode, "
				    "--owner or --group", stage, path, st.st_mode & 07777,
				    st.st_uid, st.st_gid);
	case EMFILE:
	case ENFILE:
		return __sluice_err(-err, "stage '%s': too many open files; raise ulimit -n",
				    stage);
	default:
		return __sluice_err(-err, "stage '%s': cannot open %s: %s", stage, path,
				    strerror(err));
	}
}

static int attach_failed(const char *stage, unsigned int flags)
{
	int err = errno;
	struct sluice_features f;

	switch (err) {
	case ENOENT:	/* destroyed, and its number given to another, while it was opened */
		return __sluice_err(-err, "stage '%s': no such stage any more", stage);
	case EPROTONOSUPPORT:
	case ENOTCONN:	/* a command of another size is another command, and we are not attached */
		if (sluice_features(&f))
			f.abi_version = 0;
		return __sluice_err(-EPROTONOSUPPORT, "stage '%s': this library speaks ABI %u, the "
				    "loaded module ABI %u; install the same version of both",
				    stage, SLUICE_ABI_VERSION, f.abi_version);
	case EBUSY:
		if (flags & SLUICE_ATTACH_SOLE)
			return __sluice_err(-err, "stage '%s': another producer is attached, so "
					    "none can be the only one; see sluicectl show %s",
					    stage, stage);
		return __sluice_err(-err,
				    "stage '%s': it has a sole producer; see sluicectl show %s",
				    stage, stage);
	case EUSERS:
		return __sluice_err(-err, "stage '%s': all %u endpoints are taken (consumers of a "
				    "broadcast: %u); see sluicectl show %s", stage,
				    SLUICE_MAX_ENDPOINTS, SLUICE_MAX_RECIPIENTS, stage);
	case EPERM:
		return __sluice_err(-err,
				    "stage '%s': only the kernel may send to a dead-letter stage",
				    stage);
	case ENOTTY:
		return __sluice_err(-err, "stage '%s': " SLUICE_DEV_DIR "/%s is not a stage", stage,
				    stage);
	case ESHUTDOWN:
		return __sluice_err(-err, "stage '%s': it is being destroyed", stage);
	case EOPNOTSUPP:
	case EINVAL:
		return __sluice_err(-err, "stage '%s': the module refuses this attachment "
				    "(flags 0x%x)", stage, flags);
	default:
		return __sluice_err(-err, "stage '%s': cannot attach: %s", stage, strerror(err));
	}
}

static int check_name(const char *stage)
{
	size_t len = stage ? strnlen(stage, SLUICE_NAME_MAX) : 0;

	if (!len || len >= SLUICE_NAME_MAX)
		return __sluice_err(-EINVAL, "stage name must have 1 to %u characters",
				    SLUICE_NAME_MAX - 1);
	if (strchr(stage, '/') || stage[0] == '.' || !strcmp(stage, "control"))
		return __sluice_err(-EINVAL, "'%s' cannot be the name of a stage", stage);
	return 0;
}

#ifdef __SANITIZE_THREAD__
#define MAY_LEAVE_OUT_FENCES	false	/* TSan does not know who else orders it */
#else
#define MAY_LEAVE_OUT_FENCES	true
#endif

/* Everything but @index comes from the hints page, which only the kernel writes. */
void __sluice_ep_layout(struct sluice_ep *ep, const struct sluice_hints *hints, void *control,
			void *payload, u32 index)
{
	ep->hints = hints;
	ep->control = control;
	ep->payload = payload;
	ep->count = &ep->control->endpoint[index];
	ep->slots = (struct sluice_slot *)((char *)control + hints->slots_offset);
	ep->buffer_words = (char *)control + hints->buffers_offset;
	ep->nslots = hints->nslots;
	ep->order = (u32)__builtin_ctz(hints->nslots);
	ep->nbufs = payload ? hints->nbufs : 0;
	ep->bufsize = hints->bufsize;
	ep->asym_fence = MAY_LEAVE_OUT_FENCES && hints->features & SLUICE_F_FENCES;
}

static void *map(int fd, size_t bytes, int prot, u64 offset)
{
	int flags = MAP_SHARED;

	if (offset != SLUICE_MMAP_PAYLOAD && bytes <= POPULATE_MAX)
		flags |= MAP_POPULATE;
	return mmap(NULL, bytes, prot, flags, fd, (off_t)offset);
}

static void unmap(struct sluice_ep *ep)
{
	if (ep->payload)
		munmap(ep->payload, ep->payload_bytes);
	if (ep->control)
		munmap(ep->control, ep->control_bytes);
	if (ep->hints)
		munmap((void *)(uintptr_t)ep->hints, ep->hints_bytes);
	ep->payload = NULL;
	ep->control = NULL;
	ep->hints = NULL;
}

static int map_all(struct sluice_ep *ep, u32 index)
{
	int write = ep->role == SLUICE_PRODUCER ? PROT_WRITE : 0;
	void *hints, *control, *payload = NULL;
	int ret;

	hints = map(ep->fd, ep->hints_bytes, PROT_READ, SLUICE_MMAP_HINTS);
	if (hints == MAP_FAILED)
		goto failed;
	ep->hints = hints;
	control = map(ep->fd, ep->control_bytes, PROT_READ | PROT_WRITE, SLUICE_MMAP_CONTROL);
	if (control == MAP_FAILED)
		goto failed;
	ep->control = control;
	if (ep->payload_bytes) {
		payload = map(ep->fd, ep->payload_bytes, PROT_READ | write, SLUICE_MMAP_PAYLOAD);
		if (payload == MAP_FAILED)
			goto failed;
	}
	__sluice_ep_layout(ep, hints, control, payload, index);
	return 0;
failed:
	ret = -errno;
	unmap(ep);
	return __sluice_err(ret, "stage '%s': cannot map its memory: %s%s", ep->name,
			    strerror(-ret),
			    ret == -ENOMEM ? "; free some, or create it smaller" : "");
}

static int open_and_attach(struct sluice_ep *ep, unsigned int flags)
{
	struct sluice_attach a = {
		.size = sizeof(a),
		.abi_version = SLUICE_ABI_VERSION,
		.role = ep->role,
		.flags = flags,
	};
	char path[sizeof(SLUICE_DEV_DIR) + SLUICE_NAME_MAX];
	int ret;

	snprintf(a.name, sizeof(a.name), "%s", ep->name);
	snprintf(path, sizeof(path), SLUICE_DEV_DIR "/%s", ep->name);
	ep->fd = open(path, O_RDWR | O_CLOEXEC);
	if (ep->fd < 0)
		return open_failed(ep->name, path);
	if (ioctl(ep->fd, SLUICE_IOC_ATTACH, &a))
		return attach_failed(ep->name, flags);
	if (a.index >= SLUICE_MAX_ENDPOINTS)
		return __sluice_err(-EPROTO, "stage '%s': the module answered nonsense", ep->name);
	ep->id = a.id;
	ep->hints_bytes = a.hints_bytes;
	ep->control_bytes = a.control_bytes;
	ep->payload_bytes = a.payload_bytes;
	ret = map_all(ep, a.index);
	if (ret)
		return ret;
	/* The walk begins with the oldest ticket that can still be in the ring. */
	ep->ticket = a.tail & ticket_mask(ep->order);
	if (ep->role == SLUICE_CONSUMER)
		ep->ticket = ticket_add(ep->ticket, -(long long)ep->nslots, ep->order);
	ep->high = ep->ticket;
	ep->recipient = a.recipient;
	ep->start = a.start;
	ep->early = true;
	ep->buffer_hint = ep->nbufs ? ep->nbufs - 1 : 0;
	ep->generation = __atomic_load_n(&ep->hints->generation, __ATOMIC_ACQUIRE);
	__sluice_members_changed(ep);
	return 0;
}

int sluice_attach(struct sluice_ctx *ctx, const char *stage, enum sluice_role role,
		  unsigned int flags, struct sluice_ep **out)
{
	struct sluice_ep *ep;
	int ret = check_name(stage), i;

	if (ret)
		return ret;
	if (role != SLUICE_PRODUCER && role != SLUICE_CONSUMER)
		return __sluice_err(-EINVAL, "stage '%s': neither producer nor consumer", stage);
	ep = aligned_alloc(128, (sizeof(*ep) + 127) & ~(size_t)127);
	if (!ep)
		return __sluice_err(-ENOMEM, "stage '%s': out of memory", stage);
	memset(ep, 0, sizeof(*ep));
	ep->ctx = ctx;
	ep->role = role;
	ep->sole = flags & SLUICE_ATTACH_SOLE;
	strcpy(ep->name, stage);
	for (i = 0; i < PARKS; i++)
		ep->park[i].ep = ep;
	ret = open_and_attach(ep, flags);
	if (ret) {
		if (ep->fd >= 0)
			close(ep->fd);
		free(ep);
		return ret;
	}
	ep->uring = ctx->uring && ep->hints->features & SLUICE_F_URING;
	ep->next = ctx->eps;
	ctx->eps = ep;
	*out = ep;
	return 0;
}

/* --------------------------------------------------------------- detach --- */

static void unlink_ep(struct sluice_ep **list, struct sluice_ep *ep)
{
	while (*list != ep)
		list = &(*list)->next;
	*list = ep->next;
}

/* The last command that pointed to a detached endpoint has come back. */
void __sluice_ep_put_zombie(struct sluice_ep *ep)
{
	if (!ep->detached || ep->commands)
		return;
	unlink_ep(&ep->ctx->zombies, ep);
	free(ep->choices);
	free(ep->sending);
	free(ep);
}

void sluice_detach(struct sluice_ep *ep)
{
	struct sluice_ctx *ctx;

	if (!ep)
		return;
	ctx = ep->ctx;
	__sluice_forget_kicks(ep);
	__sluice_early_forget(ep);
	/*
	 * With its last mapping the endpoint is gone: the kernel gives back what is held, hands
	 * our claims to others and completes our parked commands. Those point to this structure,
	 * so it may have to outlive the call.
	 */
	unmap(ep);
	__sluice_send_forget(ep);
	close(ep->fd);
	unlink_ep(&ctx->eps, ep);
	ep->detached = true;
	ep->next = ctx->zombies;
	ctx->zombies = ep;
	__sluice_ep_put_zombie(ep);
}

/* ------------------------------------------------------------- accessors --- */

const struct sluice_hints *sluice_hints(const struct sluice_ep *ep)
{
	return ep->hints;
}

uint32_t sluice_id(const struct sluice_ep *ep)
{
	return ep->id;
}

const char *sluice_stage_name(const struct sluice_ep *ep)
{
	return ep->name;
}

size_t sluice_buffer_size(const struct sluice_ep *ep)
{
	return ep->nbufs ? ep->bufsize : 0;
}

int sluice_fd(const struct sluice_ep *ep)
{
	return ep->fd;
}

const struct sluice_counters *sluice_counters(const struct sluice_ep *ep)
{
	return ep->count;
}
