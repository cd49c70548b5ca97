// SPDX-License-Identifier: MIT
/* admin.c: the control device: create, destroy, list and inspect stages. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "internal.h"

static int open_control(int mode)
{
	int fd = open(SLUICE_DEV_CONTROL, mode | O_CLOEXEC), err = errno;

	if (fd >= 0)
		return fd;
	switch (err) {
	case ENOENT:
	case ENXIO:
	case ENODEV:
		return __sluice_err(-ENOENT, SLUICE_NO_MODULE);
	case EACCES:
	case EPERM:
		return __sluice_err(-EACCES, "no permission for " SLUICE_DEV_CONTROL ": run as "
				    "root, or let its group or mode admit you");
	default:
		return __sluice_err(-err, "cannot open " SLUICE_DEV_CONTROL ": %s", strerror(err));
	}
}

/* One command; the descriptor lives as long. Returns 0 or -errno, without a message. */
static int control(int mode, unsigned long command, void *arg)
{
	int fd = open_control(mode), ret;

	if (fd < 0)
		return fd;
	ret = ioctl(fd, command, arg) < 0 ? -errno : 0;
	close(fd);
	if (ret == -EACCES || ret == -EPERM)
		return __sluice_err(-EACCES, SLUICE_DEV_CONTROL " refuses: only its owner and root "
				    "may do that");
	if (ret == -ENOTTY)
		return __sluice_err(-EPROTONOSUPPORT, "the loaded module does not know this "
				    "command: install the same version of module and library");
	return ret;
}

/* A name that fits, always terminated; @to is SLUICE_NAME_MAX bytes. */
static int copy_name(char *to, const char *name)
{
	size_t len = name ? strnlen(name, SLUICE_NAME_MAX) : 0;

	if (!len || len >= SLUICE_NAME_MAX)
		return __sluice_err(-EINVAL, "a stage's name has 1 to %u characters",
				    SLUICE_NAME_MAX - 1);
	memset(to, 0, SLUICE_NAME_MAX);
	memcpy(to, name, len);
	return 0;
}

static bool good_name(const char *name)
{
	const char *alnum = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
	size_t len = strspn(name, alnum);

	if (!len || !strcmp(name, "control"))
		return false;
	while (name[len] && (strchr("._-", name[len]) || strchr(alnum, name[len])))
		len++;
	return !name[len];
}

/* What the kernel calls -EINVAL, in words. */
static int explain_invalid(const struct sluice_create *c)
{
	if (!good_name(c->name))
		return __sluice_err(-EINVAL, "stage '%s': a name is letters, digits, '.', '_' and "
				    "'-', begins with a letter or digit, and is not 'control'",
				    c->name);
	if (c->nslots < SLUICE_MIN_SLOTS || c->nslots > SLUICE_MAX_SLOTS ||
	    c->nslots & (c->nslots - 1))
		return __sluice_err(-EINVAL, "stage '%s': %u slots; they are a power of two from "
				    "%u to %u", c->name, c->nslots, SLUICE_MIN_SLOTS,
				    SLUICE_MAX_SLOTS);
	if (c->nbufs > SLUICE_MAX_BUFFERS)
		return __sluice_err(-EINVAL, "stage '%s': %u buffers; at most %u", c->name,
				    c->nbufs, SLUICE_MAX_BUFFERS);
	if (c->bufsize > SLUICE_MAX_BUFFER_SIZE || !c->nbufs != !c->bufsize)
		return __sluice_err(-EINVAL, "stage '%s': %u buffers of %u bytes; both or neither, "
				    "and at most %u bytes", c->name, c->nbufs, c->bufsize,
				    SLUICE_MAX_BUFFER_SIZE);
	if (c->max_attempts > SLUICE_MAX_ATTEMPTS)
		return __sluice_err(-EINVAL, "stage '%s': %u attempts; at most %u", c->name,
				    c->max_attempts, SLUICE_MAX_ATTEMPTS);
	if (c->mode & ~0777u)
		return __sluice_err(-EINVAL, "stage '%s': mode 0%o has more than permission bits",
				    c->name, c->mode);
	return __sluice_err(-EINVAL, "stage '%s': the module refuses this geometry or a flag",
			    c->name);
}

int sluice_create(const struct sluice_create *create)
{
	struct sluice_create c = *create;
	int ret;

	c.size = sizeof(c);
	if (strnlen(c.name, sizeof(c.name)) == sizeof(c.name))
		return __sluice_err(-EINVAL, "a stage's name has at most %u characters",
				    SLUICE_NAME_MAX - 1);
	ret = control(O_RDWR, SLUICE_IOC_CREATE, &c);
	switch (ret) {
	case -EEXIST:
		return __sluice_err(ret, "stage '%s' exists already; destroy it first: sluicectl "
				    "destroy %s", c.name, c.name);
	case -EINVAL:
	case -E2BIG:
	case -ENAMETOOLONG:
	case -EOVERFLOW:
		return explain_invalid(&c);
	case -ENOSPC:
	case -EMFILE:
	case -EDQUOT:
		return __sluice_err(-ENOSPC, "stage '%s': over the module's limits; make it "
				    "smaller, destroy others, or raise "
				    "/sys/module/sluice/parameters/max_*",
				    c.name);
	case -ENOMEM:
		return __sluice_err(ret, "stage '%s': out of memory; make it smaller", c.name);
	case 0:
	case -EACCES:
	case -ENOENT:
	case -EPROTONOSUPPORT:
		return ret;
	default:
		return __sluice_err(ret, "stage '%s': cannot create: %s", c.name, strerror(-ret));
	}
}

/* -ENOENT of a stage, told apart from -ENOENT of the module by the device. */
static int no_such_stage(int ret, const char *name)
{
	if (ret != -ENOENT || access(SLUICE_DEV_CONTROL, F_OK))
		return ret;
	return __sluice_err(ret, "stage '%s': no such stage; sluicectl list shows all", name);
}

int sluice_destroy(const char *name, unsigned int drain_ms, unsigned int flags)
{
	struct sluice_destroy d = {
		.size = sizeof(d),
		.flags = flags,
		.drain_ms = drain_ms,
	};
	int ret = copy_name(d.name, name);

	if (ret)
		return ret;
	ret = control(O_RDWR, SLUICE_IOC_DESTROY, &d);
	switch (ret) {
	case -EBUSY:
		return __sluice_err(ret, "stage '%s': somebody is attached, or it does not drain; "
				    "end them, or force it", name);
	case -ETIMEDOUT:
	case -EAGAIN:
		return __sluice_err(ret, "stage '%s': it did not drain within %u ms; wait longer, "
				    "or force it", name, drain_ms);
	case -EINTR:
		return __sluice_err_lazy(ret, ERROR_INTERRUPTED, NULL);
	case -EINVAL:
		return __sluice_err(ret, "stage '%s': the module refuses flags 0x%x", name, flags);
	default:
		return no_such_stage(ret, name);
	}
}

int sluice_repair(const char *name, struct sluice_repair *found)
{
	int ret;

	memset(found, 0, sizeof(*found));
	found->size = sizeof(*found);
	ret = copy_name(found->name, name);
	if (ret)
		return ret;
	ret = control(O_RDWR, SLUICE_IOC_REPAIR, found);
	switch (ret) {
	case -ENOTTY:
		return __sluice_err(ret, "stage '%s': this module cannot repair; install the one "
				    "that belongs to this library", name);
	case -EPERM:
		return __sluice_err(ret, "stage '%s': only its owner and root may repair it", name);
	case -ENOMEM:
		return __sluice_err(ret, "stage '%s': no memory to repair it; try again", name);
	default:
		return no_such_stage(ret, name);
	}
}

int sluice_set_policy(const char *name, enum sluice_policy policy)
{
	struct sluice_set_policy p = { .size = sizeof(p), .policy = policy };
	int ret = copy_name(p.name, name);

	if (ret)
		return ret;
	ret = control(O_RDWR, SLUICE_IOC_POLICY, &p);
	switch (ret) {
	case -EINVAL:
		return __sluice_err(ret, "stage '%s': there is no policy %d, or one of the two is "
				    "broadcast, which is chosen at creation and for good", name,
				    (int)policy);
	case -EPERM:
		return __sluice_err(ret, "stage '%s': only its owner and root may change its policy",
				    name);
	default:
		return no_such_stage(ret, name);
	}
}

int sluice_info(const char *name, struct sluice_info *info)
{
	int ret;

	memset(info, 0, sizeof(*info));
	info->size = sizeof(*info);
	ret = copy_name(info->name, name);
	if (ret)
		return ret;
	return no_such_stage(control(O_RDONLY, SLUICE_IOC_INFO, info), name);
}

int sluice_next(struct sluice_info *info)
{
	u64 cookie = info->cookie;
	int ret;

	memset(info, 0, sizeof(*info));
	info->size = sizeof(*info);
	info->cookie = cookie;
	ret = control(O_RDONLY, SLUICE_IOC_NEXT, info);
	if (ret == -ENOENT && !access(SLUICE_DEV_CONTROL, F_OK))
		return __sluice_err(ret, "no more stages");
	return ret;
}

int sluice_endpoint(const char *name, struct sluice_endpoint_info *info)
{
	u32 index = info->index;
	struct sluice_info stage;
	int ret;

	memset(info, 0, sizeof(*info));
	info->size = sizeof(*info);
	info->index = index;
	ret = copy_name(info->name, name);
	if (ret)
		return ret;
	ret = control(O_RDONLY, SLUICE_IOC_ENDPOINT, info);
	if (ret != -ENOENT)
		return ret;
	/* No such stage, or no more endpoints? */
	ret = sluice_info(name, &stage);
	return ret ? ret : __sluice_err(-ENOENT, "stage '%s': no more endpoints", name);
}

int sluice_features(struct sluice_features *f)
{
	memset(f, 0, sizeof(*f));
	f->size = sizeof(*f);
	return control(O_RDONLY, SLUICE_IOC_FEATURES, f);
}
