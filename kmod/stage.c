// SPDX-License-Identifier: GPL-2.0
/*
 * stage.c: create, destroy and look up stages and their nodes.
 */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/ctype.h>
#include <linux/delay.h>
#include <linux/hashtable.h>
#include <linux/log2.h>
#include <linux/overflow.h>
#include <linux/sched/signal.h>
#include <linux/stringhash.h>

#include "internal.h"
#include "compat.h"
#include "trace.h"

DEFINE_MUTEX(sl_stages_lock);	/* the table of stages: sl_stages, sl_names, sl_nstages */
struct workqueue_struct *sl_workqueue;
static DEFINE_XARRAY_ALLOC1(sl_stages);		/* minor -> stage */
static DEFINE_HASHTABLE(sl_names, 10);
static u32 sl_next_minor;
static unsigned int sl_nstages;
static dev_t sl_devt;
static struct cdev sl_cdev;

static u32 sl_name_hash(const char *name)
{
	return full_name_hash(NULL, name, strlen(name));
}

/* ------------------------------------------------------------- the node --- */

/* /dev/sluice/<stage>, with the owner and mode that its creator asked for */
static char *sl_stage_devnode(sl_const_device *dev, umode_t *mode, kuid_t *uid, kgid_t *gid)
{
	const struct sl_stage *s = container_of(dev, struct sl_stage, dev);

	if (mode)
		*mode = s->mode;
	if (uid)
		*uid = s->uid;
	if (gid)
		*gid = s->gid;
	/*
	 * Without a name here the driver core takes another one, and device_add() tells
	 * nobody: a stage would be there and its node in the wrong place.
	 */
	return kasprintf(GFP_KERNEL | __GFP_NOFAIL, "sluice/%s", s->name);
}

static void sl_stage_free(struct sl_stage *s)
{
	unsigned long i;
	void *shadow;

	xa_for_each(&s->shadow, i, shadow)
		kfree(shadow);
	xa_destroy(&s->shadow);
	xa_destroy(&s->endpoints);
	sl_region_destroy(&s->control);
	sl_region_destroy(&s->payload);
	free_page((unsigned long)s->hints);
	if (s->dead)
		sl_stage_put(s->dead);
	sl_user_put(s->user);
	mutex_destroy(&s->lock);
	kfree(s->starts);
	kfree(s);
}

/* The device is embedded: its release is the last word. */
static void sl_device_release(struct device *dev)
{
	sl_stage_free(container_of(dev, struct sl_stage, dev));
}

static const struct device_type sl_stage_type = {
	.name		= "sluice-stage",
	.devnode	= sl_stage_devnode,
	.release	= sl_device_release,
};

static struct class sl_class = {
	.name = "sluice",
};

static void sl_stage_last_put(struct kref *ref)
{
	struct sl_stage *s = container_of(ref, struct sl_stage, ref);

	cancel_delayed_work_sync(&s->tick);
	put_device(&s->dev);
}

/** sl_stage_put() - may sleep; never under stage->lock */
void sl_stage_put(struct sl_stage *s)
{
	kref_put(&s->ref, sl_stage_last_put);
}

/* --------------------------------------------------------------- look up --- */

static struct sl_stage *sl_find_locked(const char *name)
{
	struct sl_stage *s;

	lockdep_assert_held(&sl_stages_lock);
	hash_for_each_possible(sl_names, s, by_name, sl_name_hash(name))
		if (!strcmp(s->name, name))
			return s;
	return NULL;
}

struct sl_stage *sl_stage_by_name(const char *name)
{
	struct sl_stage *s;

	mutex_lock(&sl_stages_lock);
	s = sl_find_locked(name);
	if (s)
		kref_get(&s->ref);
	mutex_unlock(&sl_stages_lock);
	return s;
}

struct sl_stage *sl_stage_by_minor(u32 minor)
{
	struct sl_stage *s;

	mutex_lock(&sl_stages_lock);
	s = xa_load(&sl_stages, minor);
	if (s)
		kref_get(&s->ref);
	mutex_unlock(&sl_stages_lock);
	return s;
}

/** sl_stage_after() - the stage after @cookie, with a reference; @cookie moves on to it */
struct sl_stage *sl_stage_after(u64 *cookie)
{
	unsigned long index = *cookie;
	struct sl_stage *s;

	mutex_lock(&sl_stages_lock);
	s = xa_find_after(&sl_stages, &index, SL_MINORS, XA_PRESENT);
	if (s) {
		kref_get(&s->ref);
		*cookie = index;
	}
	mutex_unlock(&sl_stages_lock);
	return s;
}

/* ---------------------------------------------------------------- create --- */

/* Of ASCII: the kernel's isalnum() knows Latin-1. */
static bool sl_name_char(char c)
{
	return isascii(c) && isalnum(c);
}

static bool sl_name_ok(const char *name)
{
	size_t i, n = strnlen(name, SLUICE_NAME_MAX);

	if (!n || n == SLUICE_NAME_MAX || !sl_name_char(name[0]) || !strcmp(name, "control"))
		return false;
	for (i = 1; i < n; i++)
		if (!sl_name_char(name[i]) && !strchr("._-", name[i]))
			return false;
	return true;
}

static int sl_create_check(const struct sluice_create *c)
{
	size_t n = strnlen(c->name, SLUICE_NAME_MAX);

	if (c->flags & ~SLUICE_CREATE_ALL || memchr_inv(c->reserved, 0, sizeof(c->reserved)))
		return -EINVAL;
	if (!sl_name_ok(c->name) || c->policy >= SLUICE_POLICY_COUNT)
		return -EINVAL;
	if (!is_power_of_2(c->nslots) || c->nslots < SLUICE_MIN_SLOTS ||
	    c->nslots > SLUICE_MAX_SLOTS)
		return -EINVAL;
	if (c->nbufs > SLUICE_MAX_BUFFERS || c->bufsize > SLUICE_MAX_BUFFER_SIZE ||
	    !c->nbufs != !c->bufsize)
		return -EINVAL;
	if (c->max_attempts > SLUICE_MAX_ATTEMPTS || c->mode & ~0777 ||
	    c->queue_max > SLUICE_MAX_SLOTS)
		return -EINVAL;
	if (c->dead_slots > SLUICE_MAX_BUFFERS)	/* each letter has one */
		return -EINVAL;
	/* what everybody gets nobody fails to deliver; the others have nobody to wait for */
	if (c->policy == SLUICE_POLICY_BROADCAST ? c->dead_slots :
						   c->flags & SLUICE_CREATE_SLOW_WAITS)
		return -EINVAL;
	/* the name of the dead-letter stage has to fit too */
	if (c->dead_slots && n + sizeof(".dead") > SLUICE_NAME_MAX)
		return -ENAMETOOLONG;
	return 0;
}

/* Only root gives nodes away. */
static int sl_create_owner(struct sl_stage *s, const struct sluice_create *c)
{
	s->uid = make_kuid(current_user_ns(), c->uid);
	s->gid = make_kgid(current_user_ns(), c->gid);
	if (!uid_valid(s->uid) || !gid_valid(s->gid))
		return -EINVAL;
	if (uid_eq(s->uid, current_fsuid()) &&
	    (gid_eq(s->gid, current_fsgid()) || in_group_p(s->gid)))
		return 0;
	if (capable(CAP_CHOWN))
		return 0;
	/* 0 means "not said" as well: then it is the caller's */
	if (c->uid || c->gid)
		return -EPERM;
	s->uid = current_fsuid();
	s->gid = current_fsgid();
	return 0;
}

static void sl_stage_geometry(struct sl_stage *s, const struct sluice_create *c)
{
	u64 ack_ms = c->ack_timeout_ms ?: 30000;

	strscpy(s->name, c->name, sizeof(s->name));
	s->nslots = c->nslots;
	s->order = ilog2(c->nslots);
	s->nbufs = c->nbufs;
	s->bufsize = c->nbufs ? PAGE_ALIGN(c->bufsize) : 0;
	s->policy = c->policy;
	s->flags = c->flags;
	s->max_attempts = c->max_attempts ?: 5;
	s->queue_max = c->queue_max ?: c->nslots;
	s->dead_slots = c->dead_slots;
	s->ack_timeout_ns = ack_ms * NSEC_PER_MSEC;
	s->max_hold_ns = (c->max_hold_ms ?: 10 * ack_ms) * NSEC_PER_MSEC;
	s->write_timeout_ns = (u64)(c->write_timeout_ms ?: 1000) * NSEC_PER_MSEC;
	s->mode = c->mode ?: 0600;
	s->buffers_offset = PAGE_ALIGN(sizeof(struct sluice_control));
	s->slots_offset = PAGE_ALIGN(s->buffers_offset + (u64)s->nbufs * SLUICE_BUFFER_STRIDE);
}

static int sl_stage_hints(struct sl_stage *s)
{
	struct sluice_hints *h = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);

	if (!h)
		return -ENOMEM;
	h->abi_version = SLUICE_ABI_VERSION;
	h->nslots = s->nslots;
	h->nbufs = s->nbufs;
	h->bufsize = s->bufsize;
	h->max_attempts = s->max_attempts;
	h->ack_timeout_ms = div_u64(s->ack_timeout_ns, NSEC_PER_MSEC);
	h->features = SL_FEATURES;
	h->buffers_offset = s->buffers_offset;
	h->slots_offset = s->slots_offset;
	h->policy = s->policy;
	h->overdue = ticket_mask(s->order);	/* the ticket before the first */
	h->generation = 1;
	s->fenced = !READ_ONCE(sl_asym_fence);
	h->fences = s->fenced;
	s->hints = h;
	return 0;
}

static struct sl_stage *sl_stage_alloc(const struct sluice_create *c)
{
	struct sl_stage *s = kzalloc(sizeof(*s), GFP_KERNEL_ACCOUNT);
	unsigned long control, payload;
	int err;

	if (!s)
		return ERR_PTR(-ENOMEM);
	err = sl_create_owner(s, c);
	if (err)
		goto free;
	sl_stage_geometry(s, c);
	err = -ENOMEM;
	s->user = sl_user_get(current_uid());
	if (!s->user)
		goto free;
	if (sl_is_broadcast(s)) {
		s->starts = kcalloc(SLUICE_MAX_RECIPIENTS, sizeof(*s->starts), GFP_KERNEL_ACCOUNT);
		if (!s->starts)
			goto free_user;
	}
	err = sl_stage_hints(s);
	if (err)
		goto free_starts;
	control = (s->slots_offset + (u64)s->nslots * sizeof(struct sluice_slot)) >> PAGE_SHIFT;
	payload = ((u64)s->nbufs * s->bufsize) >> PAGE_SHIFT;
	sl_region_init(&s->control, control, s);
	sl_region_init(&s->payload, payload, s);
	/* the head has to be there whatever happens later: counters, tail hint */
	if (!sl_region_get(&s->control, 0)) {
		err = -ENOMEM;
		goto free_hints;
	}
	kref_init(&s->ref);
	mutex_init(&s->lock);
	xa_init_flags(&s->endpoints, XA_FLAGS_ALLOC1 | XA_FLAGS_ACCOUNT);
	xa_init_flags(&s->shadow, XA_FLAGS_ACCOUNT);
	INIT_LIST_HEAD(&s->queue);
	INIT_LIST_HEAD(&s->sent);
	INIT_LIST_HEAD(&s->fills);
	INIT_DELAYED_WORK(&s->tick, sl_tick);
	spin_lock_init(&s->wait_lock);
	INIT_LIST_HEAD(&s->sleepers);
	init_waitqueue_head(&s->pollq);
	device_initialize(&s->dev);
	s->dev.class = &sl_class;
	s->dev.type = &sl_stage_type;
	return s;

free_hints:
	sl_region_destroy(&s->control);
	free_page((unsigned long)s->hints);
free_starts:
	kfree(s->starts);
free_user:
	sl_user_put(s->user);
free:
	kfree(s);
	return ERR_PTR(err);
}

/* Makes the stage findable and its node visible; on failure it is as it was before. */
static int sl_stage_publish(struct sl_stage *s)
{
	int err;

	lockdep_assert_held(&sl_stages_lock);
	if (sl_find_locked(s->name))
		return -EEXIST;
	if (sl_nstages >= READ_ONCE(sl_max_stages))
		return -ENOSPC;
	if (!sl_user_may_create(s->user))
		return -EDQUOT;
	/* Cyclic: who looked up the node of a stage that is gone shall not open another one. */
	err = xa_alloc_cyclic(&sl_stages, &s->minor, s,
			      XA_LIMIT(SL_FIRST_MINOR_STAGE, SL_MINORS - 1), &sl_next_minor,
			      GFP_KERNEL);
	if (err < 0)
		return err == -EBUSY ? -ENOSPC : err;
	s->dev.devt = MKDEV(MAJOR(sl_devt), s->minor);
	err = dev_set_name(&s->dev, "%s", s->name);
	if (!err)
		err = device_add(&s->dev);
	if (err) {
		xa_erase(&sl_stages, s->minor);
		return err;
	}
	hash_add(sl_names, &s->by_name, sl_name_hash(s->name));
	sl_nstages++;
	s->user->stages++;
	return 0;
}

static void sl_stage_unpublish(struct sl_stage *s)
{
	lockdep_assert_held(&sl_stages_lock);
	hash_del(&s->by_name);
	xa_erase(&sl_stages, s->minor);
	device_del(&s->dev);
	sl_nstages--;
	s->user->stages--;
}

/* P16: a dead-letter stage belongs to one stage, and the kernel is its only producer. */
static struct sl_stage *sl_dead_stage_alloc(const struct sluice_create *c)
{
	struct sluice_create d = *c;
	u32 limit = READ_ONCE(sl_dead_letter_kb) << 10;
	struct sl_stage *s;

	/* The name was found to fit: sl_create_check(). */
	strlcat(d.name, ".dead", sizeof(d.name));
	d.flags = 0;
	d.nslots = max_t(u32, SLUICE_MIN_SLOTS, roundup_pow_of_two(c->dead_slots));
	d.nbufs = min_t(u32, d.nslots, SLUICE_MAX_BUFFERS);
	d.bufsize = sizeof(struct sluice_dead_letter) +
		    max_t(u32, SLUICE_INLINE_MAX, min(c->bufsize, limit));
	d.dead_slots = 0;
	d.queue_max = 0;
	s = sl_stage_alloc(&d);
	if (!IS_ERR(s))
		s->is_dead = true;
	return s;
}

/**
 * sl_stage_create() - SLUICE_IOC_CREATE
 * Return: 0, -EINVAL, -ENAMETOOLONG, -EPERM, -EEXIST, -ENOSPC, -EDQUOT, -ENOMEM.
 */
int sl_stage_create(const struct sluice_create *c)
{
	int err = sl_create_check(c);
	struct sl_stage *s;

	if (err)
		return err;
	s = sl_stage_alloc(c);
	if (IS_ERR(s))
		return PTR_ERR(s);
	if (c->dead_slots) {
		struct sl_stage *dead = sl_dead_stage_alloc(c);

		if (IS_ERR(dead)) {
			sl_stage_put(s);
			return PTR_ERR(dead);
		}
		s->dead = dead;
	}
	mutex_lock(&sl_stages_lock);
	err = sl_stage_publish(s);
	if (!err && s->dead) {
		err = sl_stage_publish(s->dead);
		if (err)
			sl_stage_unpublish(s);
	}
	mutex_unlock(&sl_stages_lock);
	if (err)
		sl_stage_put(s);
	else
		trace_sluice_create(s);
	return err;
}

/* --------------------------------------------------------------- destroy --- */

static bool sl_stage_empty(struct sl_stage *s)
{
	u32 i;

	lockdep_assert_held(&s->lock);
	if (s->nqueue)
		return false;
	for (i = 0; i < s->nslots; i++) {
		if (slot_state(sl_slot_word(s, i)) != SLOT_FREE)
			return false;
		if (!(i % SL_SLOTS_PER_PAGE))
			cond_resched();
	}
	return true;
}

/* 0 when it may go now; -EAGAIN to look again; else why it may not, or -ENOENT: it has gone */
static int sl_stage_may_go(struct sl_stage *s, const struct sluice_destroy *d, u64 deadline)
{
	bool force = d->flags & SLUICE_DESTROY_FORCE;
	bool empty;

	if (s->gone)
		return -ENOENT;
	if (!d->drain_ms && !force && (s->producers || s->consumers))
		return -EBUSY;
	empty = sl_stage_empty(s);
	if (!d->drain_ms && !force && !s->is_dead)
		return 0;	/* nobody is attached: nobody can miss what is in it */
	if (empty || (force && ktime_get_ns() >= deadline))
		return 0;
	if (!d->drain_ms)
		return -EBUSY;
	return ktime_get_ns() >= deadline ? -ETIMEDOUT : -EAGAIN;
}

static void sl_stage_set_closed(struct sl_stage *s, bool closed)
{
	/* somebody else destroyed it meanwhile: it does not open again */
	if (s->gone)
		return;
	WRITE_ONCE(s->closed, closed);
	WRITE_ONCE(s->hints->closed, closed ? SLUICE_CLOSED_DRAIN : 0);
	/* whoever sleeps shall look at it */
	sl_generation(s);
}

/* Several may drain it at once: it opens again when the last of them has given up. */
static void sl_stage_reopen(struct sl_stage *s)
{
	lockdep_assert_held(&s->lock);
	if (!--s->closers)
		sl_stage_set_closed(s, false);
}

/*
 * Closed first, then looked at: a producer that publishes after our look has seen
 * the mark at its own look for sleepers (both sides fence, sl_generation()).
 * On 0 it stays closed, until it is gone or sl_stage_reopen().
 */
static int sl_stage_drain(struct sl_stage *s, const struct sluice_destroy *d)
{
	u64 deadline = ktime_get_ns() + (u64)d->drain_ms * NSEC_PER_MSEC;
	int err;

	mutex_lock(&s->lock);
	if (!s->closers++)
		sl_stage_set_closed(s, true);
	while ((err = sl_stage_may_go(s, d, deadline)) == -EAGAIN) {
		mutex_unlock(&s->lock);
		/* work that io_uring has for this task ends the sleep, too: no reason to give up */
		if (msleep_interruptible(5))
			usleep_range(1000, 2000);
		if (task_sigpending(current))
			err = -EINTR;
		mutex_lock(&s->lock);
		if (err == -EINTR)
			break;
	}
	if (err)
		sl_stage_reopen(s);
	mutex_unlock(&s->lock);
	return err;
}

static void sl_stage_gone(struct sl_stage *s)
{
	mutex_lock(&s->lock);
	WRITE_ONCE(s->closed, true);
	WRITE_ONCE(s->gone, true);
	WRITE_ONCE(s->hints->closed, SLUICE_CLOSED_DRAIN | SLUICE_CLOSED_GONE);
	sl_queue_close(s);
	mutex_unlock(&s->lock);
	sl_wake(s, SLUICE_WAIT_ALL, -ESHUTDOWN);
}

/** sl_stage_may_manage() - may the caller destroy or repair it? 0 or -EPERM */
int sl_stage_may_manage(const struct sl_stage *s)
{
	return uid_eq(current_fsuid(), s->uid) || capable(CAP_SYS_ADMIN) ? 0 : -EPERM;
}

/**
 * sl_stage_destroy() - SLUICE_IOC_DESTROY
 *
 * The memory stays until the last descriptor and mapping are gone; commands on
 * it answer -ESHUTDOWN. Return: 0, -ENOENT, -EBUSY, -ETIMEDOUT, -EINTR, -EPERM.
 */
int sl_stage_destroy(const struct sluice_destroy *d)
{
	struct sl_stage *s;
	int err;

	if (d->flags & ~SLUICE_DESTROY_FORCE || d->reserved ||
	    strnlen(d->name, SLUICE_NAME_MAX) == SLUICE_NAME_MAX)
		return -EINVAL;
	s = sl_stage_by_name(d->name);
	if (!s)
		return -ENOENT;
	err = s->is_dead ? -EPERM : sl_stage_may_manage(s);
	if (err)
		goto out;
	err = sl_stage_drain(s, d);
	if (err)
		goto out;
	if (s->dead) {
		err = sl_stage_drain(s->dead, d);
		if (err) {
			mutex_lock(&s->lock);
			sl_stage_reopen(s);
			mutex_unlock(&s->lock);
			goto out;
		}
	}
	mutex_lock(&sl_stages_lock);
	err = sl_find_locked(d->name) == s ? 0 : -ENOENT;
	if (!err) {
		sl_stage_unpublish(s);
		if (s->dead)
			sl_stage_unpublish(s->dead);
	}
	mutex_unlock(&sl_stages_lock);
	if (err)
		goto out;	/* somebody else destroyed it meanwhile */
	trace_sluice_destroy(s);
	sl_stage_gone(s);
	if (s->dead)
		sl_stage_gone(s->dead);
	sl_stage_put(s);	/* the table's */
out:
	sl_stage_put(s);
	return err;
}

/* ---------------------------------------------------------- parts of it --- */

struct sluice_slot *sl_slot(struct sl_stage *s, u32 index)
{
	u64 at = s->slots_offset + (u64)index * sizeof(struct sluice_slot);
	void *page = sl_region_peek(&s->control, at >> PAGE_SHIFT);

	return page ? page + offset_in_page(at) : NULL;
}

u64 sl_slot_word(struct sl_stage *s, u32 index)
{
	struct sluice_slot *slot = sl_slot(s, index);

	return slot ? READ_ONCE(slot->word) : slot_free(0);
}

u64 *sl_buffer_word(struct sl_stage *s, u32 index, bool make)
{
	u64 at = s->buffers_offset + (u64)index * SLUICE_BUFFER_STRIDE;
	void *page = make ? sl_region_get(&s->control, at >> PAGE_SHIFT) :
			    sl_region_peek(&s->control, at >> PAGE_SHIFT);

	return page ? page + offset_in_page(at) : NULL;
}

struct sluice_control *sl_control(struct sl_stage *s)
{
	return sl_region_peek(&s->control, 0);	/* made at creation */
}

struct sluice_counters *sl_endpoint_counters(struct sl_stage *s, u32 index)
{
	u64 at = offsetof(struct sluice_control, endpoint) +
		 index * sizeof(struct sluice_counters);
	void *page = sl_region_peek(&s->control, at >> PAGE_SHIFT);

	BUILD_BUG_ON(offsetof(struct sluice_control, endpoint) % sizeof(struct sluice_counters));
	return page ? page + offset_in_page(at) : NULL;
}

/** sl_shadow() - the kernel's notes on slot @index, begun anew for another @lap; NULL: no memory */
struct sl_shadow *sl_shadow(struct sl_stage *s, u32 index, u64 lap)
{
	unsigned long chunk = index / SL_SLOTS_PER_PAGE;
	struct sl_shadow *notes, *sh;

	lockdep_assert_held(&s->lock);
	notes = xa_load(&s->shadow, chunk);
	if (!notes) {
		notes = kcalloc(SL_SLOTS_PER_PAGE, sizeof(*notes), GFP_KERNEL_ACCOUNT);
		if (!notes)
			return NULL;
		if (xa_is_err(xa_store(&s->shadow, chunk, notes, GFP_KERNEL_ACCOUNT))) {
			kfree(notes);
			return NULL;
		}
	}
	sh = &notes[index % SL_SLOTS_PER_PAGE];
	if (sh->lap != lap || !sh->seen) {
		memset(sh, 0, sizeof(*sh));
		sh->lap = lap;
		sh->seen = ktime_get_ns();
		sh->since = sh->seen;
		sh->claimed = sh->seen;
	}
	return sh;
}

/* ----------------------------------------------------------- module life --- */

int sl_stages_init(void)
{
	int err;

	sl_workqueue = alloc_workqueue("sluice", WQ_UNBOUND, 0);
	if (!sl_workqueue)
		return -ENOMEM;
	err = alloc_chrdev_region(&sl_devt, 0, SL_MINORS, "sluice");
	if (err)
		goto unqueue;
	err = class_register(&sl_class);
	if (err)
		goto unregister;
	cdev_init(&sl_cdev, &sl_endpoint_fops);
	sl_cdev.owner = THIS_MODULE;
	err = cdev_add(&sl_cdev, sl_devt, SL_MINORS);
	if (err)
		goto unclass;
	return 0;

unclass:
	class_unregister(&sl_class);
unregister:
	unregister_chrdev_region(sl_devt, SL_MINORS);
unqueue:
	destroy_workqueue(sl_workqueue);
	return err;
}

/* Nothing is open any more: only stages that nobody destroyed are left. */
void sl_stages_exit(void)
{
	struct sl_stage *s;
	unsigned long i;

	cdev_del(&sl_cdev);
	mutex_lock(&sl_stages_lock);
	xa_for_each(&sl_stages, i, s) {
		/* a dead-letter stage is its parent's, and goes with it */
		if (s->is_dead)
			continue;
		if (s->dead)
			sl_stage_unpublish(s->dead);
		sl_stage_unpublish(s);
		sl_stage_put(s);
	}
	mutex_unlock(&sl_stages_lock);
	class_unregister(&sl_class);
	unregister_chrdev_region(sl_devt, SL_MINORS);
	destroy_workqueue(sl_workqueue);
}
