// SPDX-License-Identifier: MIT
/*
 * Description: an image of 1 MiB goes from one process to another unharmed, a wrong type is named
 */
#include <sluice/tensor.h>

#include "lib_common.h"

#define SIDE		512u
#define IMAGE_BYTES	(SIDE * SIDE * 4)	/* 1 MiB */
#define IMAGES		8u
#define BUFSIZE		(IMAGE_BYTES + 4096)

FIXTURE(typed)
{
	char stage[SLUICE_NAME_MAX];
	struct sluice_ctx *ctx;
	struct sluice_ep *in;
	struct sluice_accepts accepts;
};

FIXTURE_VARIANT(typed)
{
	unsigned int ctx_flags;
};

FIXTURE_VARIANT_ADD(typed, uring) { .ctx_flags = 0 };
FIXTURE_VARIANT_ADD(typed, poll) { .ctx_flags = SLUICE_CTX_NO_URING };

FIXTURE_SETUP(typed)
{
	struct sluice_create c = { .nbufs = 3, .bufsize = BUFSIZE, .dead_slots = NSLOTS };

	ASSERT_EQ(0, make_stage(self->stage, c)) TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, sluice_ctx_create(variant->ctx_flags, &self->ctx));
	ASSERT_EQ(0, sluice_attach(self->ctx, self->stage, SLUICE_CONSUMER, 0, &self->in));
	self->accepts = (struct sluice_accepts) { .n = 0 };
	strcpy(self->accepts.stage, "eyes");
	ASSERT_EQ(0, sluice_accepts_parse(&self->accepts, "image:u8[?,?,4], tokens:i32[?]"))
		TH_LOG("%s", sluice_error());
}

FIXTURE_TEARDOWN(typed)
{
	sluice_ctx_destroy(self->ctx);
	EXPECT_EQ(0, sluice_destroy(self->stage, 0, SLUICE_DESTROY_FORCE));
}

/* Byte @i of image @n: neither a row nor an image is like another. */
static unsigned char pixel(unsigned int n, unsigned int i)
{
	return (unsigned char)((i * 2654435761u + n * 40503u) >> 13);
}

static void send_image(struct sluice_ep *out, unsigned int n)
{
	struct sluice_tensor type = {
		.modality = SLUICE_MODALITY_IMAGE, .dtype = SLUICE_DTYPE_U8,
		.rank = 3, .shape = { SIDE, SIDE, 4 },
	};
	struct sluice_msg msg = { .stream = 1, .counter = n };
	struct sluice_buffer buf;
	void *data;

	CHILD_EXPECT(!sluice_buffer_take(out, &buf, 30 * SECOND));
	CHILD_EXPECT(!sluice_tensor_begin(buf.data, sluice_buffer_size(out), &type, &data));
	CHILD_EXPECT(type.bytes == IMAGE_BYTES);
	CHILD_EXPECT(((uintptr_t)data & 63) == 0);
	for (unsigned int i = 0; i < IMAGE_BYTES; i++)
		((unsigned char *)data)[i] = pixel(n, i);
	msg.len = SLUICE_TENSOR_HEADER + type.bytes;
	msg.buffer = buf.index;
	CHILD_EXPECT(!sluice_send(out, &msg, 30 * SECOND));
}

static void send_small(struct sluice_ep *out)
{
	static const int32_t ids[3] = { 6403, 1980, 253 };
	static const char sound[64 << 10];
	struct sluice_tensor tokens = {
		.modality = SLUICE_MODALITY_TOKENS, .dtype = SLUICE_DTYPE_I32,
		.rank = 1, .shape = { 3 },
	}, ogg = {
		.modality = SLUICE_MODALITY_AUDIO, .dtype = SLUICE_DTYPE_U8,
		.rank = 1, .shape = { sizeof(sound) }, .media = "ogg",
	};
	struct sluice_msg msg = { .stream = 2 }, plain = text("as before");

	CHILD_EXPECT(!sluice_tensor_send(out, &msg, &tokens, ids, 30 * SECOND));
	CHILD_EXPECT(msg.buffer == SLUICE_NO_BUFFER);
	CHILD_EXPECT(!sluice_tensor_send(out, &msg, &ogg, sound, 30 * SECOND));
	CHILD_EXPECT(!sluice_send(out, &plain, 30 * SECOND));
}

static pid_t producer(const char *stage, unsigned int ctx_flags, void (*work)(struct sluice_ep *))
{
	struct sluice_ctx *ctx;
	struct sluice_ep *out;
	pid_t pid = fork();

	if (pid)
		return pid;
	CHILD_EXPECT(!sluice_ctx_create(ctx_flags, &ctx));
	CHILD_EXPECT(!sluice_attach(ctx, stage, SLUICE_PRODUCER, 0, &out));
	work(out);
	sluice_ctx_destroy(ctx);
	_exit(0);
}

static void send_images(struct sluice_ep *out)
{
	for (unsigned int n = 0; n < IMAGES; n++)
		send_image(out, n);
}

TEST_F_TIMEOUT(typed, images, 120)
{
	pid_t pid = producer(self->stage, variant->ctx_flags, send_images);
	struct sluice_tensor type;
	struct sluice_msg msg;
	const void *data;

	for (unsigned int n = 0; n < IMAGES; n++) {
		unsigned int wrong = 0;

		ASSERT_EQ(0, sluice_claim(self->in, &msg, 30 * SECOND))
			TH_LOG("%s", sluice_error());
		ASSERT_EQ(n, msg.counter);
		ASSERT_EQ(0, sluice_tensor_read(&msg, &type, &data)) TH_LOG("%s", sluice_error());
		ASSERT_EQ(0, sluice_tensor_check(&type, &self->accepts))
			TH_LOG("%s", sluice_error());
		ASSERT_EQ(IMAGE_BYTES, type.bytes);
		ASSERT_EQ(SIDE, type.shape[0]);
		ASSERT_EQ(0, (uintptr_t)data & 63);
		for (unsigned int i = 0; i < IMAGE_BYTES; i++)
			wrong += ((const unsigned char *)data)[i] != pixel(n, i);
		ASSERT_EQ(0, wrong);
		ASSERT_EQ(0, sluice_ack(self->in, &msg));
	}
	EXPECT_EQ(0, child_status(pid));
}

TEST_F_TIMEOUT(typed, refused, 120)
{
	pid_t pid = producer(self->stage, variant->ctx_flags, send_small);
	struct sluice_tensor type;
	struct sluice_info info;
	struct sluice_msg msg;
	const void *data;

	/* in the slot, 4 bytes aligned */
	ASSERT_EQ(0, sluice_claim(self->in, &msg, 30 * SECOND));
	ASSERT_EQ(0, sluice_tensor_read(&msg, &type, &data)) TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, sluice_tensor_check(&type, &self->accepts)) TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, (uintptr_t)data & 3);
	ASSERT_EQ(253, ((const int32_t *)data)[2]);
	ASSERT_EQ(0, sluice_ack(self->in, &msg));

	ASSERT_EQ(0, sluice_claim(self->in, &msg, 30 * SECOND));
	ASSERT_EQ(0, sluice_tensor_read(&msg, &type, &data)) TH_LOG("%s", sluice_error());
	ASSERT_EQ(-EPROTOTYPE, sluice_tensor_check(&type, &self->accepts));
	ASSERT_STREQ("stage 'eyes' takes image:u8[?,?,4] or tokens:i32[?]; got audio/ogg",
		     sluice_error());
	ASSERT_EQ(0, sluice_nack(self->in, &msg, EPROTOTYPE, 0, SLUICE_NACK_DEAD));

	/* without a type nothing has changed */
	ASSERT_EQ(0, sluice_claim(self->in, &msg, 30 * SECOND));
	ASSERT_EQ(-ENOMSG, sluice_tensor_read(&msg, &type, &data));
	ASSERT_EQ(9, msg.len);
	ASSERT_EQ(0, memcmp("as before", msg.data, 9));
	ASSERT_EQ(0, sluice_ack(self->in, &msg));
	EXPECT_EQ(0, child_status(pid));
	ASSERT_EQ(0, sluice_info(self->stage, &info));
	EXPECT_EQ(0, info.ready + info.claimed);
}

TEST_HARNESS_MAIN
