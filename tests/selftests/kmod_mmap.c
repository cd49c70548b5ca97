// SPDX-License-Identifier: MIT
/* Description: the three regions map whole, shared, never executable, and read-only where said */
#include <setjmp.h>

#include "kmod_common.h"

FIXTURE(stage)
{
	int producer, consumer;
	struct sluice_attach a;
};

FIXTURE_SETUP(stage)
{
	ASSERT_EQ(0, stage_create("t", (struct sluice_create) { .nbufs = 2, .bufsize = 8192 }));
	self->producer = stage_open("t", O_RDWR);
	self->consumer = stage_open("t", O_RDWR);
	ASSERT_EQ(0, attach_raw(self->producer, SLUICE_PRODUCER, 0, &self->a));
	ASSERT_EQ(0, attach_raw(self->consumer, SLUICE_CONSUMER, 0, &self->a));
}

FIXTURE_TEARDOWN(stage)
{
	close(self->producer);
	close(self->consumer);
	EXPECT_EQ(0, stage_destroy("t", 0, SLUICE_DESTROY_FORCE));
}

static int map_errno(int fd, u64 offset, u64 bytes, int prot, int flags)
{
	void *p = mmap(NULL, bytes, prot, flags, fd, (off_t)offset);

	if (p == MAP_FAILED)
		return -errno;
	munmap(p, bytes);
	return 0;
}

TEST_F(stage, exact_size_and_offset)
{
	static const u64 offsets[] = {
		SLUICE_MMAP_HINTS, SLUICE_MMAP_CONTROL, SLUICE_MMAP_PAYLOAD,
	};
	const u64 bytes[] = { PAGE, self->a.control_bytes, self->a.payload_bytes };
	unsigned int i;

	for (i = 0; i < 3; i++) {
		int fd = self->producer;

		EXPECT_EQ(-EINVAL, map_errno(fd, offsets[i], bytes[i] + PAGE, PROT_READ, MAP_SHARED));
		if (bytes[i] > PAGE)
			EXPECT_EQ(-EINVAL, map_errno(fd, offsets[i], bytes[i] - PAGE, PROT_READ,
						     MAP_SHARED));
		EXPECT_EQ(-EINVAL, map_errno(fd, offsets[i] + PAGE, bytes[i], PROT_READ,
					     MAP_SHARED));
		EXPECT_EQ(-EINVAL, map_errno(fd, offsets[i], bytes[i], PROT_READ, MAP_PRIVATE));
		EXPECT_EQ(-EINVAL, map_errno(fd, offsets[i], bytes[i], PROT_READ | PROT_EXEC,
					     MAP_SHARED));
	}
	EXPECT_EQ(-EINVAL, map_errno(self->producer, 1ull << 50, PAGE, PROT_READ, MAP_SHARED));
	EXPECT_STATE("t", BOTH);
}

TEST_F(stage, read_only_where_said)
{
	int rw = PROT_READ | PROT_WRITE;

	EXPECT_EQ(-EACCES, map_errno(self->producer, SLUICE_MMAP_HINTS, PAGE, rw, MAP_SHARED));
	EXPECT_EQ(-EACCES, map_errno(self->consumer, SLUICE_MMAP_HINTS, PAGE, rw, MAP_SHARED));
	EXPECT_EQ(-EACCES, map_errno(self->consumer, SLUICE_MMAP_PAYLOAD, self->a.payload_bytes,
				     rw, MAP_SHARED));
	EXPECT_STATE("t", BOTH);
}

/* No way up from a read-only mapping, nor to an executable one, nor to a part. */
TEST_F(stage, mprotect_is_refused)
{
	int rw = PROT_READ | PROT_WRITE, prots[] = { PROT_READ, rw, PROT_READ };
	static const u64 offsets[] = {
		SLUICE_MMAP_HINTS, SLUICE_MMAP_CONTROL, SLUICE_MMAP_PAYLOAD,
	};
	const u64 bytes[] = { PAGE, self->a.control_bytes, self->a.payload_bytes };
	char *p[3];
	unsigned int i;

	for (i = 0; i < 3; i++) {
		p[i] = map_at(self->consumer, offsets[i], bytes[i], prots[i]);
		ASSERT_NE(MAP_FAILED, p[i]);
		EXPECT_EQ(-1, mprotect(p[i], bytes[i], PROT_READ | PROT_EXEC));
		EXPECT_EQ(EACCES, errno);
		if (prots[i] == PROT_READ) {
			EXPECT_EQ(-1, mprotect(p[i], bytes[i], rw));
			EXPECT_EQ(EACCES, errno);
		}
		if (bytes[i] > PAGE) {
			EXPECT_EQ(-1, mprotect(p[i], PAGE, PROT_NONE));
			EXPECT_EQ(EINVAL, errno);
		}
	}
	EXPECT_STATE("t", BOTH);
	for (i = 0; i < 3; i++)
		EXPECT_EQ(0, munmap(p[i], bytes[i]));
	EXPECT_STATE("t", .producers = 1, .deaths = 1);
}

static sigjmp_buf jump;

static void on_segv(int sig)
{
	siglongjmp(jump, sig);
}

TEST_F(stage, stores_into_read_only_fault)
{
	struct end in;

	ASSERT_EQ(0, end_make(&in, "t", SLUICE_CONSUMER, 0));
	signal(SIGSEGV, on_segv);
	if (!sigsetjmp(jump, 1)) {
		((volatile struct sluice_hints *)in.hints)->generation = 77;
		EXPECT_EQ(0, 1) TH_LOG("hints could be written");
	}
	if (!sigsetjmp(jump, 1)) {
		*(volatile unsigned char *)in.payload = 77;
		EXPECT_EQ(0, 1) TH_LOG("payload could be written by a consumer");
	}
	EXPECT_NE(77, in.hints->generation);
	EXPECT_EQ(0, in.payload[0]);
	end_close(&in);
}

/* A descriptor that cannot be read maps nothing. */
TEST_F(stage, write_only_descriptor)
{
	int fd = stage_open("t", O_WRONLY);
	struct sluice_attach a;

	ASSERT_EQ(0, attach_raw(fd, SLUICE_PRODUCER, 0, &a));
	EXPECT_EQ(-EACCES, map_errno(fd, SLUICE_MMAP_HINTS, PAGE, PROT_READ, MAP_SHARED));
	close(fd);
}

TEST_F(stage, no_buffers_no_payload)
{
	struct sluice_attach a;
	int fd;

	ASSERT_EQ(0, stage_create("u", (struct sluice_create) { 0 }));
	fd = stage_open("u", O_RDWR);
	ASSERT_EQ(0, attach_raw(fd, SLUICE_PRODUCER, 0, &a));
	EXPECT_EQ(0, a.payload_bytes);
	EXPECT_EQ(-EINVAL, map_errno(fd, SLUICE_MMAP_PAYLOAD, PAGE, PROT_READ, MAP_SHARED));
	close(fd);
	EXPECT_EQ(0, stage_destroy("u", 0, 0));
}

/* Both ends see the same pages; what was never touched is zero. */
TEST_F(stage, pages_are_shared)
{
	struct end out, in;
	u64 i;

	ASSERT_EQ(0, end_make(&out, "t", SLUICE_PRODUCER, 0));
	ASSERT_EQ(0, end_make(&in, "t", SLUICE_CONSUMER, 0));
	for (i = 0; i < out.payload_bytes; i += 512)
		ASSERT_EQ(0, in.payload[i]);
	for (i = 0; i < out.payload_bytes; i += 512)
		out.payload[i] = (unsigned char)(i / 512);
	for (i = 0; i < out.payload_bytes; i += 512)
		ASSERT_EQ((unsigned char)(i / 512), in.payload[i]);
	end_close(&out);
	end_close(&in);
}

/* A stage may be bounded; who touches more gets SIGBUS, not somebody else's memory. */
TEST_F(stage, limit_of_memory)
{
	const char *param = "/sys/module/sluice/parameters/max_stage_mb";
	struct end out;
	volatile u64 i;
	FILE *f;

	ASSERT_EQ(0, stage_create("u", (struct sluice_create) { .nbufs = 2, .bufsize = 1 << 20 }));
	ASSERT_EQ(0, end_make(&out, "u", SLUICE_PRODUCER, 0));
	f = fopen(param, "w");
	ASSERT_NE(NULL, f);
	fputs("1", f);
	ASSERT_EQ(0, fclose(f));
	signal(SIGBUS, on_segv);
	if (!sigsetjmp(jump, 1)) {
		for (i = 0; i < out.payload_bytes; i += PAGE)
			out.payload[i] = 1;
		EXPECT_EQ(0, 1) TH_LOG("no limit");
	}
	EXPECT_GT(i, 200 * PAGE);
	EXPECT_LE(i, 256 * PAGE);
	f = fopen(param, "w");
	fputs("0", f);
	fclose(f);
	out.payload[i] = 1;
	end_close(&out);
	EXPECT_EQ(0, stage_destroy("u", 0, 0));
}

TEST_HARNESS_MAIN
