// SPDX-License-Identifier: GPL-2.0
/*
 * endpoint.c: open, attach, mmap, release: who is alive.
 *
 * An endpoint belongs to the address space that attached it and is dead when
 * the last mapping of that address space is closed; without a mapping, when its
 * descriptor is released (P24). vm_ops->close runs in exit_mm, before the files
 * of a dying process are touched, so a parked command that pins the file does
 * not hide the death.
 */
#include <linux/cred.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include "internal.h"
#include "compat.h"
#include "trace.h"

/* ------------------------------------------------------------- liveness --- */

/** sl_endpoint_check() - may the caller act in its name? 0, -ENOTCONN, -EPERM, -ESHUTDOWN */
int sl_endpoint_check(struct sl_endpoint *ep)
{
	/* pairs with sl_attach_locked() */
	if (!smp_load_acquire(&ep->attached) || READ_ONCE(ep->dead))
		return -ENOTCONN;
	if (current->mm != ep->mm)
		return -EPERM;
	return 0;
}

bool sl_endpoint_alive(struct sl_stage *s, u32 id)
{
	struct sl_endpoint *ep;

	lockdep_assert_held(&s->lock);
	ep = xa_load(&s->endpoints, id);
	return ep && !ep->dead;
}

static void sl_count_members(struct sl_stage *s, u32 role, int n)
{
	lockdep_assert_held(&s->lock);
	if (role == SLUICE_PRODUCER)
		s->producers += n;
	else
		s->consumers += n;
	WRITE_ONCE(s->hints->producers, s->producers);
	if (role == SLUICE_CONSUMER)
		sl_policy_members(s);
}

/* A sole producer's claim on the ring ends with its last mapping anywhere (P20). */
static void sl_release_sole(struct sl_endpoint *ep)
{
	struct sl_stage *s = ep->stage;

	lockdep_assert_held(&s->lock);
	if (s->sole == ep && ep->dead && !ep->all_maps)
		s->sole = NULL;
}

/**
 * sl_endpoint_die() - what it owed is somebody else's from now on
 *
 * Kernel work in its name is done under stage->lock, so once the mark is set
 * there is none (P25).
 */
void sl_endpoint_die(struct sl_endpoint *ep)
{
	struct sl_stage *s = ep->stage;

	lockdep_assert_held(&s->lock);
	if (!ep->attached || ep->dead)
		return;
	WRITE_ONCE(ep->dead, true);
	sl_count_members(s, ep->role, -1);
	sl_info_keep(ep);
	clear_bit(ep->index, s->indices);
	s->counts.deaths++;
	trace_sluice_death(s, ep->id, ep->role);
	sl_send_orphan(ep);
	sl_turn_end(ep);
	sl_broadcast_leave(ep);
	sl_reap(s, ep->id, s->sole == ep);
	sl_release_sole(ep);
	sl_wake_endpoint(ep, -ENOTCONN);
}

/** sl_endpoint_evict() - put a living endpoint out: its stores fault from now on (P26) */
void sl_endpoint_evict(struct sl_endpoint *ep)
{
	struct sl_stage *s = ep->stage;

	lockdep_assert_held(&s->lock);
	/* No fault is half way: it inserts its page under the same lock. */
	down_write(&ep->fault_lock);
	ep->evicted = true;
	unmap_mapping_range(&ep->mapping, 0, 0, 1);
	up_write(&ep->fault_lock);
	sl_endpoint_die(ep);
}

/* ------------------------------------------------------------------ mmap --- */

static struct sl_region *sl_vma_region(struct sl_stage *s, unsigned long pgoff,
				       unsigned long *first, bool *hints)
{
	u64 at = (u64)pgoff << PAGE_SHIFT;

	*hints = false;
	if (at >= SLUICE_MMAP_PAYLOAD) {
		*first = pgoff - (SLUICE_MMAP_PAYLOAD >> PAGE_SHIFT);
		return &s->payload;
	}
	if (at >= SLUICE_MMAP_CONTROL) {
		*first = pgoff - (SLUICE_MMAP_CONTROL >> PAGE_SHIFT);
		return &s->control;
	}
	*hints = true;
	return NULL;
}

static vm_fault_t sl_fault(struct vm_fault *vmf)
{
	struct sl_endpoint *ep = vmf->vma->vm_private_data;
	struct page *page;
	unsigned long index;
	bool hints;
	int err = 0;
	struct sl_region *r = sl_vma_region(ep->stage, vmf->pgoff, &index, &hints);

	if (hints)
		page = vmf->pgoff ? NULL : virt_to_page(ep->stage->hints);
	else
		page = sl_region_page(r, index, &err);
	if (!page)
		return err == -ENOMEM ? VM_FAULT_OOM : VM_FAULT_SIGBUS;
	/* Inserted here and not by the caller, where an eviction could come between. */
	down_read(&ep->fault_lock);
	err = ep->evicted ? -EFAULT : vm_insert_page(vmf->vma, vmf->address & PAGE_MASK, page);
	up_read(&ep->fault_lock);
	if (!err || err == -EBUSY)
		return VM_FAULT_NOPAGE;		/* there already: another thread was faster */
	return vmf_error(err);
}

static void sl_vma_open(struct vm_area_struct *vma)
{
	struct sl_endpoint *ep = vma->vm_private_data;

	mutex_lock(&ep->stage->lock);
	ep->all_maps++;
	if (vma->vm_mm == ep->mm)
		ep->own_maps++;
	mutex_unlock(&ep->stage->lock);
}

static void sl_vma_close(struct vm_area_struct *vma)
{
	struct sl_endpoint *ep = vma->vm_private_data;

	mutex_lock(&ep->stage->lock);
	ep->all_maps--;
	if (vma->vm_mm == ep->mm && !--ep->own_maps)
		sl_endpoint_die(ep);
	sl_release_sole(ep);
	mutex_unlock(&ep->stage->lock);
}

/* Half a region is nobody's idea of a ring. */
static int sl_vma_may_split(struct vm_area_struct *vma, unsigned long addr)
{
	return -EINVAL;
}

static const struct vm_operations_struct sl_vm_ops = {
	.open		= sl_vma_open,
	.close		= sl_vma_close,
	.may_split	= sl_vma_may_split,
	.fault		= sl_fault,
};

static int sl_mmap_check(struct sl_endpoint *ep, struct vm_area_struct *vma)
{
	struct sl_stage *s = ep->stage;
	u64 at = (u64)vma->vm_pgoff << PAGE_SHIFT;
	unsigned long len = vma->vm_end - vma->vm_start, want;
	bool read_only;

	switch (at) {
	case SLUICE_MMAP_HINTS:
		want = PAGE_SIZE;
		read_only = true;
		break;
	case SLUICE_MMAP_CONTROL:
		want = s->control.npages << PAGE_SHIFT;
		read_only = false;
		break;
	case SLUICE_MMAP_PAYLOAD:
		want = s->payload.npages << PAGE_SHIFT;
		read_only = ep->role == SLUICE_CONSUMER;
		break;
	default:
		return -EINVAL;
	}
	if (!(vma->vm_flags & VM_SHARED) || !want || len != want || vma->vm_flags & VM_EXEC)
		return -EINVAL;
	if (read_only && vma->vm_flags & VM_WRITE)
		return -EACCES;
	sl_vm_flags(vma, VM_DONTCOPY | VM_DONTEXPAND | VM_DONTDUMP | VM_MIXEDMAP,
		    VM_MAYEXEC | (read_only ? VM_MAYWRITE : 0));
	return 0;
}

static int sl_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct sl_endpoint *ep = file->private_data;
	struct sl_stage *s = ep->stage;
	int err = sl_endpoint_check(ep) ?: sl_mmap_check(ep, vma);

	if (err)
		return err;
	mutex_lock(&s->lock);
	if (ep->dead) {
		err = -ENOTCONN;
	} else {
		vma->vm_ops = &sl_vm_ops;
		vma->vm_private_data = ep;
		WRITE_ONCE(ep->mapped, true);
		ep->own_maps++;
		ep->all_maps++;
	}
	mutex_unlock(&s->lock);
	return err;
}

/* ---------------------------------------------------------------- attach --- */

static int sl_attach_sole(struct sl_stage *s, struct sl_endpoint *ep)
{
	if (ep->role == SLUICE_PRODUCER && s->sole)
		return -EBUSY;
	if (!(ep->flags & SLUICE_ATTACH_SOLE))
		return 0;
	/* without WRITING nobody knows which messages a newcomer's bit is in */
	if (ep->role != SLUICE_PRODUCER || sl_is_broadcast(s))
		return -EINVAL;
	/* the kernel publishes into a dead-letter stage, and what is in its queue */
	if (s->producers || s->nqueue || s->is_dead)
		return -EBUSY;
	s->sole = ep;
	return 0;
}

static bool sl_broadcast_consumer(const struct sl_stage *s, const struct sl_endpoint *ep)
{
	return sl_is_broadcast(s) && ep->role == SLUICE_CONSUMER;
}

static int sl_attach_locked(struct sl_stage *s, struct sl_endpoint *ep)
{
	struct sluice_counters *counters;
	unsigned long index;
	int err;

	if (s->closed)
		return -ESHUTDOWN;
	if (s->is_dead && ep->role == SLUICE_PRODUCER)
		return -EPERM;	/* P16 */
	if (ep->flags & SLUICE_ATTACH_OLDEST && !sl_broadcast_consumer(s, ep))
		return -EINVAL;
	index = find_first_zero_bit(s->indices, SLUICE_MAX_ENDPOINTS);
	if (index >= SLUICE_MAX_ENDPOINTS)
		return -EUSERS;
	if (sl_broadcast_consumer(s, ep) && !~s->bits_taken)
		return -EUSERS;
	err = sl_attach_sole(s, ep);
	if (err)
		return err;
	/* Cyclic, so that a number in a trace means one endpoint for a long time. */
	err = xa_alloc_cyclic(&s->endpoints, &ep->id, ep, XA_LIMIT(1, SLOT_OWNER_KERNEL - 1),
			      &s->next_id, GFP_KERNEL);
	if (err < 0) {
		if (s->sole == ep)
			s->sole = NULL;
		return err == -EBUSY ? -EUSERS : err;
	}
	set_bit(index, s->indices);
	ep->index = index;
	ep->mm = current->mm;
	mmgrab(ep->mm);
	ep->files = current->files;
	ep->pid = get_pid(task_tgid(current));
	get_task_comm(ep->comm, current);
	counters = sl_endpoint_counters(s, index);
	if (counters)
		memset(counters, 0, sizeof(*counters));
	if (sl_broadcast_consumer(s, ep))
		sl_broadcast_join(s, ep);
	else
		sl_ring_find_tail(s);
	ep->cursor = ticket_add(s->tail, -(long long)s->nslots, s->order);
	ep->generation = READ_ONCE(s->hints->generation);
	sl_count_members(s, ep->role, 1);
	smp_store_release(&ep->attached, true);	/* all of the above first */
	sl_generation(s);
	trace_sluice_attach(s, ep->id, ep->role);
	return 0;
}

static int sl_attach(struct file *file, u32 role, u32 flags)
{
	struct sl_endpoint *ep = file->private_data;
	struct sl_stage *s = ep->stage;
	int err;

	if (!current->mm)
		return -EPERM;
	mutex_lock(&s->lock);
	if (ep->attached) {
		err = -EALREADY;
	} else {
		ep->role = role;
		ep->flags = flags;
		err = sl_attach_locked(s, ep);
	}
	mutex_unlock(&s->lock);
	if (!err)
		sl_tick_start(s);
	return err;
}

/**
 * sl_endpoint_attach() - SLUICE_IOC_ATTACH
 * Return: 0, -EINVAL, -EPROTONOSUPPORT, -EACCES, -EBUSY, -EUSERS, -EALREADY,
 * -ESHUTDOWN, -ENOMEM.
 */
int sl_endpoint_attach(struct file *file, struct sluice_attach *a)
{
	struct sl_endpoint *ep = file->private_data;
	struct sl_stage *s = ep->stage;
	fmode_t need = FMODE_WRITE;
	int err;

	if (a->abi_version != SLUICE_ABI_VERSION)
		return -EPROTONOSUPPORT;
	if (a->flags & ~SLUICE_ATTACH_ALL || a->start || a->recipient)
		return -EINVAL;
	if (a->role != SLUICE_PRODUCER && a->role != SLUICE_CONSUMER)
		return -EINVAL;
	if (a->name[0] && strncmp(a->name, s->name, SLUICE_NAME_MAX))
		return -ENOENT;
	if (a->role == SLUICE_CONSUMER)
		need |= FMODE_READ;
	if ((file->f_mode & need) != need)
		return -EACCES;
	err = sl_attach(file, a->role, a->flags);
	if (err)
		return err;
	a->id = ep->id;
	a->index = ep->index;
	a->hints_bytes = PAGE_SIZE;
	a->control_bytes = (u64)s->control.npages << PAGE_SHIFT;
	a->payload_bytes = (u64)s->payload.npages << PAGE_SHIFT;
	a->tail = ticket_add(READ_ONCE(ep->cursor), s->nslots, s->order);
	a->recipient = ep->recipient;
	if (ep->recipient)
		a->start = READ_ONCE(s->starts[__ffs64(ep->recipient)]);
	return 0;
}

/** sl_endpoint_attach_implicit() - by the first read(2) or write(2) of an unattached descriptor */
int sl_endpoint_attach_implicit(struct file *file, u32 role)
{
	struct sl_endpoint *ep = file->private_data;
	int err = 0;

	if (!smp_load_acquire(&ep->attached))	/* pairs with sl_attach_locked() */
		err = sl_attach(file, role, 0);
	if (err && err != -EALREADY)
		return err;
	if (ep->role != role)
		return -EBADF;
	return sl_endpoint_check(ep);
}

/* -------------------------------------------------------- open and close --- */

static int sl_open(struct inode *inode, struct file *file)
{
	struct sl_stage *s = sl_stage_by_minor(iminor(inode));
	struct sl_endpoint *ep;

	if (!s)
		return -ENXIO;
	ep = kzalloc(sizeof(*ep), GFP_KERNEL_ACCOUNT);
	if (!ep) {
		sl_stage_put(s);
		return -ENOMEM;
	}
	ep->stage = s;
	mutex_init(&ep->read_lock);
	init_rwsem(&ep->fault_lock);
	INIT_LIST_HEAD(&ep->poll.list);
	ep->poll.kind = SL_WAIT_POLL;
	ep->poll.ep = ep;
	/* A mapping object of its own: putting one endpoint out unmaps nobody else. */
	address_space_init_once(&ep->mapping);
	ep->mapping.host = inode;
	ep->mapping.a_ops = &empty_aops;
	file->f_mapping = &ep->mapping;
	file->private_data = ep;
	return stream_open(inode, file);
}

/*
 * The files_struct that attached goes: its parked commands would pin the file.
 * Nothing is reaped here; a descriptor passed on may outlive its sender (P24).
 */
static int sl_flush(struct file *file, fl_owner_t id)
{
	struct sl_endpoint *ep = file->private_data;

	/* pairs with sl_attach_locked() */
	if (smp_load_acquire(&ep->attached) && id == ep->files && current->flags & PF_EXITING)
		sl_wake_endpoint(ep, -ECANCELED);
	return 0;
}

static int sl_release(struct inode *inode, struct file *file)
{
	struct sl_endpoint *ep = file->private_data;
	struct sl_stage *s = ep->stage;

	mutex_lock(&s->lock);
	sl_endpoint_die(ep);
	if (ep->attached)
		xa_erase(&s->endpoints, ep->id);
	mutex_unlock(&s->lock);
	sl_unpark(s, &ep->poll);
	if (ep->attached) {
		mmdrop(ep->mm);
		put_pid(ep->pid);
	}
	/* __fput looks at f_mapping no more, but must not find it freed if it did. */
	file->f_mapping = inode->i_mapping;
	mutex_destroy(&ep->read_lock);
	kfree(ep);
	sl_stage_put(s);
	return 0;
}

const struct file_operations sl_endpoint_fops = {
	.owner		= THIS_MODULE,
	.open		= sl_open,
	.flush		= sl_flush,
	.release	= sl_release,
	.mmap		= sl_mmap,
	.poll		= sl_poll,
	.read		= sl_read,
	.write		= sl_write,
	.unlocked_ioctl	= sl_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.uring_cmd	= sl_uring_cmd,
};
