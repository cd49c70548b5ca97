// SPDX-License-Identifier: GPL-2.0
/*
 * region.c: sparse memory that user space maps.
 *
 * Order-0 pages, zeroed, charged to the memory cgroup of whoever touches them
 * first, kept until the stage goes. The kernel reaches a word through the page
 * itself, so nothing here is ever looked up through a user mapping.
 */
#include <linux/highmem.h>
#include <linux/uaccess.h>

#include "internal.h"

static atomic_long_t sl_total_resident;

void sl_region_init(struct sl_region *r, unsigned long npages, struct sl_stage *s)
{
	xa_init_flags(&r->pages, XA_FLAGS_ACCOUNT);
	r->npages = npages;
	r->resident = &s->resident;
	r->user = s->user;
}

void sl_region_destroy(struct sl_region *r)
{
	struct page *page;
	unsigned long i;

	xa_for_each(&r->pages, i, page) {
		/* A reader may still have it pinned: drop our reference only. */
		put_page(page);
		atomic_long_dec(r->resident);
		atomic_long_dec(&r->user->resident);
		atomic_long_dec(&sl_total_resident);
		cond_resched();
	}
	xa_destroy(&r->pages);
}

/* Limits are soft by the number of CPUs that fault at the same moment. */
static bool sl_region_may_grow(struct sl_region *r)
{
	unsigned long stage_max = (unsigned long)READ_ONCE(sl_max_stage_mb) << (20 - PAGE_SHIFT);
	unsigned long total_max = (unsigned long)READ_ONCE(sl_max_total_mb) << (20 - PAGE_SHIFT);

	return (!stage_max || atomic_long_read(r->resident) < stage_max) &&
	       (!total_max || atomic_long_read(&sl_total_resident) < total_max) &&
	       sl_user_may_grow(r->user);
}

/**
 * sl_region_page() - page @index, made if it is not there
 * @err:	out: -EINVAL outside the region, -ENOSPC over a limit, -ENOMEM
 *
 * The region keeps its reference. May sleep.
 */
struct page *sl_region_page(struct sl_region *r, unsigned long index, int *err)
{
	struct page *page, *old;

	*err = -EINVAL;
	if (index >= r->npages)
		return NULL;
	page = xa_load(&r->pages, index);
	if (page)
		return page;
	*err = -ENOSPC;
	if (!sl_region_may_grow(r))
		return NULL;
	*err = -ENOMEM;
	page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!page)
		return NULL;
	old = xa_cmpxchg(&r->pages, index, NULL, page, GFP_KERNEL_ACCOUNT);
	if (!old) {
		atomic_long_inc(r->resident);
		atomic_long_inc(&r->user->resident);
		atomic_long_inc(&sl_total_resident);
		return page;
	}
	__free_page(page);
	return xa_is_err(old) ? NULL : old;
}

/** sl_region_peek() - address of page @index, or NULL if it was never touched */
void *sl_region_peek(struct sl_region *r, unsigned long index)
{
	struct page *page = index < r->npages ? xa_load(&r->pages, index) : NULL;

	return page ? page_address(page) : NULL;
}

/** sl_region_get() - address of page @index, made if need be; NULL when there is no memory */
void *sl_region_get(struct sl_region *r, unsigned long index)
{
	int err;
	struct page *page = sl_region_page(r, index, &err);

	return page ? page_address(page) : NULL;
}

/** sl_region_copy() - between two regions; what was never touched reads as zeroes */
int sl_region_copy(struct sl_region *dst, u64 to, struct sl_region *src, u64 from, size_t len)
{
	while (len) {
		size_t n = min3(len, (size_t)(PAGE_SIZE - offset_in_page(to)),
				(size_t)(PAGE_SIZE - offset_in_page(from)));
		void *d = sl_region_get(dst, to >> PAGE_SHIFT);
		void *f = sl_region_peek(src, from >> PAGE_SHIFT);

		if (!d)
			return -ENOMEM;
		if (f)
			memcpy(d + offset_in_page(to), f + offset_in_page(from), n);
		else
			memset(d + offset_in_page(to), 0, n);
		to += n;
		from += n;
		len -= n;
	}
	return 0;
}

/** sl_region_write() - from kernel memory */
int sl_region_write(struct sl_region *r, u64 to, const void *from, size_t len)
{
	while (len) {
		size_t n = min(len, (size_t)(PAGE_SIZE - offset_in_page(to)));
		void *d = sl_region_get(r, to >> PAGE_SHIFT);

		if (!d)
			return -ENOMEM;
		memcpy(d + offset_in_page(to), from, n);
		to += n;
		from += n;
		len -= n;
	}
	return 0;
}

/** sl_region_copy_in() - from user memory; no lock may be held */
int sl_region_copy_in(struct sl_region *r, u64 to, const void __user *from, size_t len)
{
	while (len) {
		size_t n = min(len, (size_t)(PAGE_SIZE - offset_in_page(to)));
		void *d = sl_region_get(r, to >> PAGE_SHIFT);

		if (!d)
			return -ENOMEM;
		if (copy_from_user(d + offset_in_page(to), from, n))
			return -EFAULT;
		to += n;
		from += n;
		len -= n;
	}
	return 0;
}

/** sl_region_copy_out() - to user memory; no lock may be held */
int sl_region_copy_out(struct sl_region *r, u64 from, void __user *to, size_t len)
{
	while (len) {
		size_t n = min(len, (size_t)(PAGE_SIZE - offset_in_page(from)));
		void *f = sl_region_peek(r, from >> PAGE_SHIFT);

		if (f ? copy_to_user(to, f + offset_in_page(from), n) : clear_user(to, n))
			return -EFAULT;
		to += n;
		from += n;
		len -= n;
	}
	return 0;
}
