// SPDX-License-Identifier: MIT
/* Description: a buffer that write(2) or SEND still fills is nobody else's, come what may */
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sys/syscall.h>

#include "kmod_uring.h"

#define SOON	scaled(5000)
#define LONG	3000u			/* more than a slot has room for, less than a page */

FIXTURE(copy)
{
	struct ends r;
	struct end other, in;		/* who comes after it */
	int faults;			/* userfaultfd: nobody serves it but we */
	unsigned char *page, *full;	/* what is copied: not there yet, and what it will be */
	pthread_t thread;
	bool send;
	int result;
};

FIXTURE_VARIANT(copy)
{
	bool send;
};

FIXTURE_VARIANT_ADD(copy, write) { .send = false };
FIXTURE_VARIANT_ADD(copy, send) { .send = true };

static void *fresh_page(void)
{
	return mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/* A page whose faults wait until they are served; a descriptor that tells of them. */
static int hold_faults(void *page)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { .start = (u64)(uintptr_t)page, .len = PAGE },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int fd = (int)syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return -errno;
	if (ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &reg))
		return -errno;
	return fd;
}

FIXTURE_SETUP(copy)
{
	self->page = fresh_page();
	self->full = fresh_page();
	self->faults = hold_faults(self->page);
	if (self->faults < 0)
		SKIP(return, "this kernel has no userfaultfd: %s", strerror(-self->faults));
	memset(self->full, 'A', PAGE);
	self->send = variant->send;
	ASSERT_EQ(0, ends_make(&self->r, (struct sluice_create) {
		.nbufs = 1, .bufsize = PAGE, .write_timeout_ms = 100000, .ack_timeout_ms = 100000,
	}, 0));
}

FIXTURE_TEARDOWN(copy)
{
	if (self->faults < 0)
		return;
	end_close(&self->other);
	end_close(&self->in);
	EXPECT_EQ(0, ends_close(&self->r));
}

static void *copies(void *arg)
{
	FIXTURE_DATA(copy) *self = arg;
	struct sluice_send s = {
		.size = sizeof(s), .flags = SLUICE_SEND_ACCEPT, .len = LONG,
		.addr = (u64)(uintptr_t)self->page,
	};

	if (self->send)
		self->result = call(self->r.out.fd, SLUICE_IOC_SEND, &s);
	else if (write(self->r.out.fd, self->page, LONG) != LONG)
		self->result = -errno;
	return NULL;
}

/* The copy has begun and waits for its page. */
static int copy_begin(FIXTURE_DATA(copy) *self)
{
	struct pollfd p = { .fd = self->faults, .events = POLLIN };
	struct uffd_msg msg;

	if (pthread_create(&self->thread, NULL, copies, self))
		return -ECHILD;
	if (poll(&p, 1, (int)SOON) != 1)
		return -ETIMEDOUT;
	if (read(self->faults, &msg, sizeof(msg)) != sizeof(msg))
		return -errno;
	return msg.event == UFFD_EVENT_PAGEFAULT ? 0 : -ENOMSG;
}

/* The page comes, the copy ends. */
static int copy_end(FIXTURE_DATA(copy) *self)
{
	struct uffdio_copy c = {
		.dst = (u64)(uintptr_t)self->page, .src = (u64)(uintptr_t)self->full, .len = PAGE,
	};

	if (ioctl(self->faults, UFFDIO_COPY, &c))
		return -errno;
	return -pthread_join(self->thread, NULL);
}

/* Of as many bytes, all of them @c. */
static int take_all(struct end *e, int c)
{
	u64 ticket, token;
	struct sluice_slot *slot;
	unsigned char *data;
	u32 i;
	int err = end_claim(e, &ticket, &token);

	if (err)
		return err;
	slot = end_slot(e, ticket);
	if (slot->buf || slot->len != LONG)
		return -EBADMSG;
	data = e->payload;
	for (i = 0; i < LONG; i++) {
		if (data[i] != c) {
			fprintf(stderr, "# byte %u of a message of '%c' is '%c'\n", i, c, data[i]);
			return -EILSEQ;
		}
	}
	return end_ack(e, ticket, token);
}

/* The only buffer, if it is to be had, full of 'B', is sent. */
static int send_other(struct end *e)
{
	char text[LONG + 1];
	u64 ticket;
	u32 buf;

	memset(text, 'B', LONG);
	text[LONG] = 0;
	return end_send_buffer(e, text, &ticket, &buf);
}

/* It comes home, and works. */
static int buffer_again(FIXTURE_DATA(copy) *self)
{
	u64 deadline = now_ns() + SOON * MS;
	int err;

	while ((err = send_other(&self->other)) == -ENOBUFS && now_ns() < deadline)
		sleep_ms(1);
	return err ?: take_all(&self->in, 'B');
}

/* Its endpoint is gone by now; others come, and the page only after them. */
static void others_come(struct __test_metadata *_metadata, FIXTURE_DATA(copy) *self)
{
	int sent;

	ASSERT_EQ(0, end_make(&self->other, "t", SLUICE_PRODUCER, 0));
	ASSERT_EQ(0, end_make(&self->in, "t", SLUICE_CONSUMER, 0));
	sent = send_other(&self->other);
	EXPECT_TRUE(!sent || sent == -ENOBUFS) TH_LOG("%d", sent);
	EXPECT_EQ(0, copy_end(self));
	EXPECT_EQ(-ENOTCONN, self->result);
	if (!sent)
		EXPECT_EQ(0, take_all(&self->in, 'B'));
	EXPECT_EQ(-EAGAIN, take_all(&self->in, 'B'));
	EXPECT_EQ(0, buffer_again(self));
}

TEST_F_TIMEOUT(copy, repaired, 120)
{
	struct sluice_repair r = { .size = sizeof(r), .name = "t" };

	ASSERT_EQ(0, copy_begin(self));
	EXPECT_EQ(0, control(SLUICE_IOC_REPAIR, &r));
	others_come(_metadata, self);
}

TEST_F_TIMEOUT(copy, detached, 120)
{
	ASSERT_EQ(0, copy_begin(self));
	EXPECT_EQ(0, call(self->r.out.fd, SLUICE_IOC_DETACH, NULL));
	others_come(_metadata, self);
}

/* Another thread gives it away: no message may change after it was published. */
TEST_F_TIMEOUT(copy, given_away, 120)
{
	struct sluice_send s = {
		.size = sizeof(s), .flags = SLUICE_SEND_ACCEPT | SLUICE_SEND_BUFFER, .len = LONG,
	};

	ASSERT_EQ(0, end_make(&self->other, "t", SLUICE_PRODUCER, 0));
	ASSERT_EQ(0, end_make(&self->in, "t", SLUICE_CONSUMER, 0));
	ASSERT_EQ(0, copy_begin(self));
	EXPECT_EQ(-EBADF, call(self->r.out.fd, SLUICE_IOC_SEND, &s));
	EXPECT_EQ(-ENOBUFS, send_other(&self->other));
	EXPECT_EQ(-EAGAIN, end_claim(&self->in, &(u64){ 0 }, &(u64){ 0 }));
	EXPECT_EQ(0, copy_end(self));
	EXPECT_EQ(0, self->result);
	EXPECT_EQ(0, take_all(&self->in, 'A'));
	EXPECT_EQ(0, buffer_again(self));
}

/* One that never comes: the copy fails, and the buffer is as it was. */
TEST_F_TIMEOUT(copy, no_page, 120)
{
	struct uffdio_range range = { .start = (u64)(uintptr_t)self->page, .len = PAGE };

	ASSERT_EQ(0, end_make(&self->other, "t", SLUICE_PRODUCER, 0));
	ASSERT_EQ(0, end_make(&self->in, "t", SLUICE_CONSUMER, 0));
	ASSERT_EQ(0, copy_begin(self));
	EXPECT_EQ(0, munmap(self->page, PAGE));
	EXPECT_EQ(0, ioctl(self->faults, UFFDIO_WAKE, &range));
	EXPECT_EQ(0, pthread_join(self->thread, NULL));
	EXPECT_EQ(-EFAULT, self->result);
	EXPECT_EQ(0, buffer_again(self));
}

TEST_HARNESS_MAIN
