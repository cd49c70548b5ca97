// SPDX-License-Identifier: GPL-2.0
/*
 * user.c: what the stages of one user may take.
 *
 * Accounted to who created the stage, whoever touches its memory. Root is not limited.
 */
#include <linux/cred.h>

#include "internal.h"

static DEFINE_MUTEX(sl_users_lock);
static HLIST_HEAD(sl_users);

/** sl_user_get() - the account of @uid, with a reference; NULL when there is no memory */
struct sl_user *sl_user_get(kuid_t uid)
{
	struct sl_user *u;

	mutex_lock(&sl_users_lock);
	hlist_for_each_entry(u, &sl_users, list) {
		if (uid_eq(u->uid, uid)) {
			u->refs++;
			goto out;
		}
	}
	u = kzalloc(sizeof(*u), GFP_KERNEL_ACCOUNT);
	if (u) {
		u->uid = uid;
		u->refs = 1;
		hlist_add_head(&u->list, &sl_users);
	}
out:
	mutex_unlock(&sl_users_lock);
	return u;
}

void sl_user_put(struct sl_user *u)
{
	mutex_lock(&sl_users_lock);
	if (!--u->refs) {
		hlist_del(&u->list);
		kfree(u);
	}
	mutex_unlock(&sl_users_lock);
}

/** sl_user_may_create() - one stage more? */
bool sl_user_may_create(const struct sl_user *u)
{
	unsigned int max = READ_ONCE(sl_max_user_stages);

	lockdep_assert_held(&sl_stages_lock);
	return !max || uid_eq(u->uid, GLOBAL_ROOT_UID) || u->stages < max;
}

/** sl_user_may_grow() - one page more? Soft by the number of CPUs that ask at the same moment. */
bool sl_user_may_grow(const struct sl_user *u)
{
	unsigned long max = (unsigned long)READ_ONCE(sl_max_user_mb) << (20 - PAGE_SHIFT);

	return !max || uid_eq(u->uid, GLOBAL_ROOT_UID) || atomic_long_read(&u->resident) < max;
}
