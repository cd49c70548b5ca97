// SPDX-License-Identifier: GPL-2.0
/*
 * main.c: module life and the control device.
 */
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/uaccess.h>

#include "internal.h"
#include "compat.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

unsigned int sl_max_stages = 16384;
module_param_named(max_stages, sl_max_stages, uint, 0644);
MODULE_PARM_DESC(max_stages, "stages in all (dead-letter stages count)");

unsigned int sl_max_stage_mb;
module_param_named(max_stage_mb, sl_max_stage_mb, uint, 0644);
MODULE_PARM_DESC(max_stage_mb, "memory of one stage in MiB, 0 = no limit but the memory cgroup");

unsigned int sl_max_total_mb;
module_param_named(max_total_mb, sl_max_total_mb, uint, 0644);
MODULE_PARM_DESC(max_total_mb, "memory of all stages in MiB, 0 = no limit but the memory cgroup");

unsigned int sl_max_user_stages;
module_param_named(max_user_stages, sl_max_user_stages, uint, 0644);
MODULE_PARM_DESC(max_user_stages, "stages of one user who is not root, 0 = no limit");

unsigned int sl_max_user_mb;
module_param_named(max_user_mb, sl_max_user_mb, uint, 0644);
MODULE_PARM_DESC(max_user_mb, "memory of the stages of one user who is not root, in MiB, 0 = no limit");

unsigned int sl_dead_letter_kb = 64;
module_param_named(dead_letter_kb, sl_dead_letter_kb, uint, 0644);
MODULE_PARM_DESC(dead_letter_kb, "payload kept in a dead letter, in KiB");

/*
 * In User-Mode Linux an interrupt comes to the thread that stands for the processor, while the
 * process goes on beside it: what that thread passes is no fence of the process.
 */
bool sl_asym_fence = !IS_ENABLED(CONFIG_UML);
module_param_named(asym_fence, sl_asym_fence, bool, 0644);
MODULE_PARM_DESC(asym_fence, "who sleeps fences for sole producers, by an interrupt of all processors");

/**
 * sl_copy_struct() - a {size, ...} structure from user space
 *
 * Shorter ones are extended with zeroes; longer ones must be zero where this
 * kernel does not know them. Return: 0, -EFAULT, -EINVAL (size), -E2BIG.
 */
int sl_copy_struct(void *dst, size_t ksize, const void __user *src)
{
	u32 size;

	if (get_user(size, (const u32 __user *)src))
		return -EFAULT;
	if (size < 2 * sizeof(u32) || size > PAGE_SIZE)
		return -EINVAL;
	return copy_struct_from_user(dst, ksize, src, size);
}

/* What the caller's structure has room for; its size field stays the caller's. */
static int sl_copy_back(void __user *dst, const void *src, size_t ksize, u32 usize)
{
	return copy_to_user(dst, src, min_t(size_t, ksize, usize)) ? -EFAULT : 0;
}

/**
 * sl_ioctl_base() - the command without the size that its caller was compiled with
 *
 * Structures that begin with their size may grow; the number says which, the
 * structure itself how large. The others are taken by their exact command.
 */
unsigned int sl_ioctl_base(unsigned int cmd)
{
	static const unsigned int growing[] = {
		SLUICE_IOC_FEATURES, SLUICE_IOC_CREATE, SLUICE_IOC_DESTROY, SLUICE_IOC_INFO,
		SLUICE_IOC_NEXT, SLUICE_IOC_ENDPOINT, SLUICE_IOC_REPAIR, SLUICE_IOC_ATTACH,
		SLUICE_IOC_SEND, SLUICE_IOC_POLICY,
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(growing); i++)
		if (!((cmd ^ growing[i]) & ~(_IOC_SIZEMASK << _IOC_SIZESHIFT)))
			return growing[i];
	return cmd;
}

static int sl_ioctl_features(void __user *arg)
{
	struct sluice_features f;
	int err = sl_copy_struct(&f, sizeof(f), arg);

	if (err)
		return err;
	f.abi_version = SLUICE_ABI_VERSION;
	f.features = SL_FEATURES;
	return sl_copy_back(arg, &f, sizeof(f), f.size);
}

static int sl_ioctl_create(void __user *arg)
{
	struct sluice_create c;
	int err = sl_copy_struct(&c, sizeof(c), arg);

	return err ?: sl_stage_create(&c);
}

static int sl_ioctl_destroy(void __user *arg)
{
	struct sluice_destroy d;
	int err = sl_copy_struct(&d, sizeof(d), arg);

	return err ?: sl_stage_destroy(&d);
}

static int sl_ioctl_repair(void __user *arg)
{
	struct sluice_repair r;
	int err = sl_copy_struct(&r, sizeof(r), arg);

	if (!err && memchr_inv(r.reserved, 0, sizeof(r.reserved)))
		err = -EINVAL;
	if (!err)
		err = sl_stage_repair(&r);
	return err ?: sl_copy_back(arg, &r, sizeof(r), r.size);
}

static int sl_ioctl_policy(void __user *arg)
{
	struct sluice_set_policy p;
	struct sl_stage *s;
	int err = sl_copy_struct(&p, sizeof(p), arg);

	if (err)
		return err;
	if (p.flags || memchr_inv(p.reserved, 0, sizeof(p.reserved)) ||
	    p.policy >= SLUICE_POLICY_COUNT || strnlen(p.name, SLUICE_NAME_MAX) == SLUICE_NAME_MAX)
		return -EINVAL;
	s = sl_stage_by_name(p.name);
	if (!s)
		return -ENOENT;
	err = sl_stage_may_manage(s);
	if (!err) {
		mutex_lock(&s->lock);
		if (s->gone)
			err = -ESHUTDOWN;
		else if (sl_is_broadcast(s) || p.policy == SLUICE_POLICY_BROADCAST)
			err = -EINVAL;
		else
			sl_policy_set(s, p.policy);
		mutex_unlock(&s->lock);
	}
	sl_stage_put(s);
	return err;
}

static int sl_ioctl_info(void __user *arg, bool next)
{
	struct sluice_info info;
	struct sl_stage *s;
	int err = sl_copy_struct(&info, sizeof(info), arg);

	if (err)
		return err;
	if (!next && strnlen(info.name, SLUICE_NAME_MAX) == SLUICE_NAME_MAX)
		return -EINVAL;
	s = next ? sl_stage_after(&info.cookie) : sl_stage_by_name(info.name);
	if (!s)
		return -ENOENT;
	err = sl_stage_info(s, &info);
	sl_stage_put(s);
	return err ?: sl_copy_back(arg, &info, sizeof(info), info.size);
}

static int sl_ioctl_endpoint(void __user *arg)
{
	struct sluice_endpoint_info info;
	struct sl_stage *s;
	int err = sl_copy_struct(&info, sizeof(info), arg);

	if (err)
		return err;
	if (strnlen(info.name, SLUICE_NAME_MAX) == SLUICE_NAME_MAX)
		return -EINVAL;
	s = sl_stage_by_name(info.name);
	if (!s)
		return -ENOENT;
	err = sl_endpoint_info(s, &info);
	sl_stage_put(s);
	return err ?: sl_copy_back(arg, &info, sizeof(info), info.size);
}

static long sl_control_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	void __user *p = (void __user *)arg;

	switch (sl_ioctl_base(cmd)) {
	case SLUICE_IOC_FEATURES:
		return sl_ioctl_features(p);
	case SLUICE_IOC_CREATE:
		return file->f_mode & FMODE_WRITE ? sl_ioctl_create(p) : -EACCES;
	case SLUICE_IOC_DESTROY:
		return file->f_mode & FMODE_WRITE ? sl_ioctl_destroy(p) : -EACCES;
	case SLUICE_IOC_REPAIR:
		return file->f_mode & FMODE_WRITE ? sl_ioctl_repair(p) : -EACCES;
	case SLUICE_IOC_POLICY:
		return file->f_mode & FMODE_WRITE ? sl_ioctl_policy(p) : -EACCES;
	case SLUICE_IOC_INFO:
		return sl_ioctl_info(p, false);
	case SLUICE_IOC_NEXT:
		return sl_ioctl_info(p, true);
	case SLUICE_IOC_ENDPOINT:
		return sl_ioctl_endpoint(p);
	default:
		return -ENOTTY;
	}
}

static const struct file_operations sl_control_fops = {
	.owner		= THIS_MODULE,
	.unlocked_ioctl	= sl_control_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
};

static struct miscdevice sl_control_device = {
	.minor		= MISC_DYNAMIC_MINOR,
	.name		= "sluice-control",
	.nodename	= "sluice/control",
	.fops		= &sl_control_fops,
	.mode		= 0660,
};

static int __init sluice_init(void)
{
	int err;

	BUILD_BUG_ON(sizeof(struct sluice_slot) != 128);
	BUILD_BUG_ON(sizeof(struct sluice_hints) != 4096);
	BUILD_BUG_ON(sizeof(struct sluice_wait) != 16);
	BUILD_BUG_ON(sizeof(struct sluice_send_cmd) != 16);
	BUILD_BUG_ON(sizeof(struct sluice_kick) != 16);
	BUILD_BUG_ON(sizeof(struct sluice_counters) != 64);
	err = sl_stages_init();
	if (err)
		return err;
	err = misc_register(&sl_control_device);
	if (err)
		sl_stages_exit();
	return err;
}

static void __exit sluice_exit(void)
{
	misc_deregister(&sl_control_device);
	sl_stages_exit();
}

module_init(sluice_init);
module_exit(sluice_exit);

MODULE_AUTHOR("The sluice developers");
MODULE_DESCRIPTION("Lock-free message rings between processes, acknowledged and redelivered");
MODULE_LICENSE("GPL");
