// SPDX-License-Identifier: MIT
/*
 * Description: the type of a message comes back as it was written, or is refused in a sentence
 */
#include <stdio.h>

#include "lib_memory.h"

#define ROOM	4096u

/* A message in memory that ends where it ends: what reads on is seen by the sanitizer. */
struct typed {
	char *payload;
	struct sluice_msg msg;
};

static struct sluice_tensor image(void)
{
	return (struct sluice_tensor) {
		.modality = SLUICE_MODALITY_IMAGE, .dtype = SLUICE_DTYPE_U8,
		.rank = 3, .shape = { 4, 5, 3 },
	};
}

static struct typed write_typed(struct sluice_tensor t)
{
	struct typed typed = { .msg.buffer = SLUICE_NO_BUFFER };
	char *room = malloc(ROOM);
	void *data;

	assert_non_null(room);
	assert_int_equal(0, sluice_tensor_begin(room, ROOM, &t, &data));
	assert_ptr_equal(room + SLUICE_TENSOR_HEADER, data);
	for (uint32_t i = 0; i < t.bytes; i++)
		((unsigned char *)data)[i] = (unsigned char)(i * 7 + 1);
	typed.msg.len = SLUICE_TENSOR_HEADER + t.bytes;
	typed.payload = realloc(room, typed.msg.len);
	assert_non_null(typed.payload);
	typed.msg.data = typed.payload;
	return typed;
}

/* What comes back is what was written, and the data is where it was. */
static void round_trip(struct sluice_tensor t, uint32_t bytes)
{
	struct typed typed = write_typed(t);
	struct sluice_tensor back;
	const void *data;

	assert_int_equal(0, sluice_tensor_read(&typed.msg, &back, &data));
	assert_int_equal(t.modality, back.modality);
	assert_int_equal(t.dtype, back.dtype);
	assert_int_equal(t.rank, back.rank);
	assert_memory_equal(t.shape, back.shape, sizeof(t.shape));
	assert_memory_equal(t.media, back.media, sizeof(t.media));
	assert_int_equal(t.rate, back.rate);
	assert_int_equal(bytes, back.bytes);
	assert_ptr_equal(typed.payload + SLUICE_TENSOR_HEADER, data);
	for (uint32_t i = 0; i < bytes; i++)
		assert_int_equal((unsigned char)(i * 7 + 1), ((const unsigned char *)data)[i]);
	free(typed.payload);
}

static void test_every_dtype(void **state)
{
	static const struct {
		unsigned int dtype;
		const char *name;
		uint32_t size;
	} rows[] = {
		{ SLUICE_DTYPE_F32, "f32", 4 }, { SLUICE_DTYPE_F64, "f64", 8 },
		{ SLUICE_DTYPE_F16, "f16", 2 }, { SLUICE_DTYPE_BF16, "bf16", 2 },
		{ SLUICE_DTYPE_I8, "i8", 1 }, { SLUICE_DTYPE_U8, "u8", 1 },
		{ SLUICE_DTYPE_I16, "i16", 2 }, { SLUICE_DTYPE_U16, "u16", 2 },
		{ SLUICE_DTYPE_I32, "i32", 4 }, { SLUICE_DTYPE_U32, "u32", 4 },
		{ SLUICE_DTYPE_I64, "i64", 8 }, { SLUICE_DTYPE_U64, "u64", 8 },
		{ SLUICE_DTYPE_BOOL, "bool", 1 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sluice_tensor t = {
			.modality = SLUICE_MODALITY_HIDDEN, .dtype = (uint8_t)rows[i].dtype,
			.rank = 2, .shape = { 3, 5 },
		};

		assert_string_equal(rows[i].name, sluice_dtype_name(rows[i].dtype));
		assert_int_equal(rows[i].size, sluice_dtype_size(rows[i].dtype));
		round_trip(t, 15 * rows[i].size);
	}
	assert_int_equal(SLUICE_DTYPE_COUNT, sizeof(rows) / sizeof(rows[0]) + 1);
	assert_null(sluice_dtype_name(0));
	assert_null(sluice_dtype_name(SLUICE_DTYPE_COUNT));
	assert_int_equal(0, sluice_dtype_size(0));
	assert_int_equal(0, sluice_dtype_size(SLUICE_DTYPE_COUNT));
}

static void test_every_modality(void **state)
{
	static const char *const names[] = {
		NULL, "text", "tokens", "embedding", "hidden", "kv", "logits", "image", "audio",
		"control", NULL,
	};

	for (unsigned int i = 1; i < SLUICE_MODALITY_COUNT; i++) {
		struct sluice_tensor t = {
			.modality = (uint8_t)i, .dtype = SLUICE_DTYPE_U8, .rank = 1, .shape = { 9 },
		};

		assert_string_equal(names[i], sluice_modality_name(i));
		round_trip(t, 9);
	}
	assert_null(names[SLUICE_MODALITY_COUNT]);
	assert_null(sluice_modality_name(0));
	assert_null(sluice_modality_name(SLUICE_MODALITY_COUNT));
}

static void test_every_rank(void **state)
{
	struct sluice_tensor t = { .modality = SLUICE_MODALITY_KV, .dtype = SLUICE_DTYPE_F16 };

	for (t.rank = 0; t.rank <= SLUICE_TENSOR_RANK; t.rank++) {
		round_trip(t, 2u << t.rank);
		if (t.rank < SLUICE_TENSOR_RANK)
			t.shape[t.rank] = 2;
	}
	/* nothing in it is a message, too */
	t = image();
	t.shape[1] = 0;
	round_trip(t, 0);
}

static void test_encoded(void **state)
{
	struct sluice_tensor png = {
		.modality = SLUICE_MODALITY_IMAGE, .dtype = SLUICE_DTYPE_U8,
		.rank = 1, .shape = { 70 }, .media = "png",
	};
	struct sluice_tensor sound = {
		.modality = SLUICE_MODALITY_AUDIO, .dtype = SLUICE_DTYPE_F32,
		.rank = 2, .shape = { 16, 2 }, .rate = 16000,
	};

	round_trip(png, 70);
	round_trip(sound, 128);
	memcpy(png.media, "svg+xml-1.2.3.4", sizeof(png.media));
	round_trip(png, 70);
}

/* The layout that docs/types.md describes, byte by byte. */
static void test_layout(void **state)
{
	static const unsigned char want[SLUICE_TENSOR_HEADER] = {
		0x93, 'S', 'L', 'T', 1, 8, 1, 2,
		3, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		24, 0, 0, 0, 0x80, 0x3e, 0, 0,
	};
	struct typed typed = write_typed((struct sluice_tensor) {
		.modality = SLUICE_MODALITY_AUDIO, .dtype = SLUICE_DTYPE_F32,
		.rank = 2, .shape = { 3, 2 }, .rate = 16000,
	});

	assert_memory_equal(want, typed.payload, sizeof(want));
	free(typed.payload);
}

/* ------------------------------------------------------------------ refused --- */

/* Fields of image() that are wrong, and what is said of them. */
struct flaw {
	unsigned int at, bytes;
	uint64_t value;
	const char *says;
};

static const struct flaw flaws[] = {
	{ 4, 1, 2, "version 2; this library knows 1" },
	{ 4, 1, 0, "version 0" },
	{ 5, 1, 0, "modality is 0" },
	{ 5, 1, SLUICE_MODALITY_COUNT, "modality is 10, which this library does not know; known "
	  "are text, tokens, embedding, hidden, kv, logits, image, audio, control" },
	{ 5, 1, 255, "modality is 255" },
	{ 5, 1, SLUICE_MODALITY_TEXT, "text in u8 of rank 3; text and encoded data are u8[bytes]" },
	{ 6, 1, SLUICE_DTYPE_ANY, "dtype is 0" },
	{ 6, 1, SLUICE_DTYPE_COUNT, "dtype is 14, which this library does not know; known are f32, "
	  "f64, f16, bf16, i8, u8, i16, u16, i32, u32, i64, u64, bool" },
	{ 6, 1, 255, "dtype is 255" },
	{ 6, 1, SLUICE_DTYPE_F16, "says 60 bytes of data, its shape makes 120" },
	{ 7, 1, 9, "9 dimensions; 8 are the most" },
	{ 7, 1, SLUICE_RANK_ANY, "255 dimensions" },
	{ 7, 1, 2, "2 dimensions, and number 3 is 3" },
	{ 7, 1, 4, "says 60 bytes of data, its shape makes 0" },
	{ 8, 4, 5, "says 60 bytes of data, its shape makes 75" },
	{ 8, 4, SLUICE_DIM_ANY, "number 1 is 4294967295" },
	{ 8, 4, UINT32_MAX / 15, "more than 4294967231 bytes" },
	{ 36, 4, 1, "3 dimensions, and number 8 is 1" },
	{ 40, 4, 59, "says 59 bytes of data, its shape makes 60" },
	{ 40, 4, UINT32_MAX, "its shape makes 60" },
	{ 44, 4, 44100, "sample rate, 44100, but is image" },
	{ 48, 8, 0x676e70, "image/png in u8 of rank 3" },
	{ 48, 8, 0x474e50, "names its encoding with other than" },
	{ 48, 8, '*', "names its encoding with other than" },
	{ 48, 8, '\n', "names its encoding with other than" },
	{ 48, 8, 0x610000, "something behind its encoding's name" },
	{ 63, 1, 'x', "something behind its encoding's name" },
};

static void refused(const struct sluice_msg *msg, int err, const char *says)
{
	struct sluice_tensor t = { .rate = 77 };
	const void *data = "untouched";

	assert_int_equal(err, sluice_tensor_read(msg, &t, &data));
	if (!strstr(sluice_error(), says))
		fail_msg("'%s' does not say '%s'", sluice_error(), says);
	assert_null(strchr(sluice_error(), '\n'));
	assert_string_equal("untouched", data);
	assert_int_equal(77, t.rate);
}

static void test_every_field(void **state)
{
	for (size_t i = 0; i < sizeof(flaws) / sizeof(flaws[0]); i++) {
		struct typed typed = write_typed(image());

		memcpy(typed.payload + flaws[i].at, &flaws[i].value, flaws[i].bytes);
		refused(&typed.msg, -EBADMSG, flaws[i].says);
		free(typed.payload);
	}
}

static void test_more_fields(void **state)
{
	struct sluice_tensor png = {
		.modality = SLUICE_MODALITY_IMAGE, .dtype = SLUICE_DTYPE_U8,
		.rank = 1, .shape = { 8 }, .media = "png",
	};
	struct typed typed = write_typed(png);

	typed.payload[6] = SLUICE_DTYPE_I8;
	refused(&typed.msg, -EBADMSG, "image/png in i8 of rank 1");
	typed.payload[6] = SLUICE_DTYPE_U8;
	typed.payload[5] = SLUICE_MODALITY_TOKENS;
	refused(&typed.msg, -EBADMSG, "tokens/png: only text, image and audio are encoded");
	typed.payload[5] = SLUICE_MODALITY_IMAGE;
	memset(typed.payload + 48, 'x', SLUICE_MEDIA_MAX);
	refused(&typed.msg, -EBADMSG, "names its encoding with other than at most 15");
	free(typed.payload);
}

static void test_untyped(void **state)
{
	struct sluice_msg none = { .len = 0 }, text = { .data = "\x93SLX, and so on", .len = 15 };
	struct typed typed = write_typed(image());

	refused(&none, -ENOMSG, "has no type");
	refused(&text, -ENOMSG, "has no type");
	for (typed.msg.len = 0; typed.msg.len < 4; typed.msg.len++)
		refused(&typed.msg, -ENOMSG, "has no type");
	typed.payload[0] = 'S';
	typed.msg.len = SLUICE_TENSOR_HEADER + 60;
	refused(&typed.msg, -ENOMSG, "has no type");
	free(typed.payload);
}

/* Cut off anywhere, or with more behind it; a copy of each length, so that no byte more is read. */
static void test_every_length(void **state)
{
	struct typed typed = write_typed(image());
	const uint32_t whole = typed.msg.len;
	struct sluice_msg msg = typed.msg;
	char says[64], *copy;

	for (msg.len = 4; msg.len < whole; msg.len++) {
		copy = malloc(msg.len);
		memcpy(copy, typed.payload, msg.len);
		msg.data = copy;
		snprintf(says, sizeof(says), msg.len < SLUICE_TENSOR_HEADER ?
			 "ends after %u bytes" : "the message has %u",
			 msg.len - (msg.len < SLUICE_TENSOR_HEADER ? 0 : SLUICE_TENSOR_HEADER));
		refused(&msg, -EBADMSG, says);
		free(copy);
	}
	typed.payload = realloc(typed.payload, whole + 1);
	msg.data = typed.payload;
	msg.len = whole + 1;
	refused(&msg, -EBADMSG, "says 60 bytes of data, the message has 61");
	free(typed.payload);
}

/* Products that end near 2^32 and 2^64: neither may come out small, and a 0 hides nothing. */
static void test_overflow(void **state)
{
	static const struct {
		uint32_t shape[SLUICE_TENSOR_RANK];
		uint8_t rank, dtype;
		int64_t bytes;
	} rows[] = {
		{ { 65536, 65536 }, 2, SLUICE_DTYPE_U8, -EOVERFLOW },		/* 2^32 */
		{ { 65536, 65535 }, 2, SLUICE_DTYPE_U8, 4294901760 },
		{ { 4294967231 }, 1, SLUICE_DTYPE_U8, 4294967231 },		/* the most */
		{ { 4294967232 }, 1, SLUICE_DTYPE_U8, -EOVERFLOW },
		{ { 536870904 }, 1, SLUICE_DTYPE_F64, -EOVERFLOW },
		{ { 65536, 65536, 65536, 65536 }, 4, SLUICE_DTYPE_U8, -EOVERFLOW }, /* 2^64 */
		{ { 65536, 65536, 65536, 65535 }, 4, SLUICE_DTYPE_U8, -EOVERFLOW },
		{ { 641, 6700417, 4294967294, 2 }, 4, SLUICE_DTYPE_U8, -EOVERFLOW },
		{ { 2147483648, 2147483648 }, 2, SLUICE_DTYPE_F32, -EOVERFLOW },
		{ { 2147483648, 2147483648, 2, 2 }, 4, SLUICE_DTYPE_F32, -EOVERFLOW },
		{ { 0, 65536, 65536 }, 3, SLUICE_DTYPE_U8, -EOVERFLOW },
		{ { 65536, 65536, 0 }, 3, SLUICE_DTYPE_U8, -EOVERFLOW },
		{ { 65536, 0, 16 }, 3, SLUICE_DTYPE_U8, 0 },
		{ { 0 }, 0, SLUICE_DTYPE_F64, 8 },				/* one element */
	};
	void *data;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sluice_tensor t = {
			.modality = SLUICE_MODALITY_HIDDEN, .dtype = rows[i].dtype,
			.rank = rows[i].rank,
		};
		char small[SLUICE_TENSOR_HEADER + 8];
		int err = rows[i].bytes < 0 ? -EINVAL : rows[i].bytes > 8 ? -EMSGSIZE : 0;

		memcpy(t.shape, rows[i].shape, sizeof(t.shape));
		assert_int_equal(rows[i].bytes,
				 __sluice_shape_bytes(t.shape, t.rank, sluice_dtype_size(t.dtype)));
		assert_int_equal(err, sluice_tensor_begin(small, sizeof(small), &t, &data));
	}
}

static void test_begin_refuses(void **state)
{
	char room[SLUICE_TENSOR_HEADER + 60];
	struct sluice_tensor t = image();
	void *data;

	assert_int_equal(-EMSGSIZE, sluice_tensor_begin(room, sizeof(room) - 1, &t, &data));
	assert_non_null(strstr(sluice_error(), "60 bytes of data and 64 of their type"));
	assert_non_null(strstr(sluice_error(), "--buffer-size"));
	assert_int_equal(-EMSGSIZE, sluice_tensor_begin(room, 63, &t, &data));
	assert_int_equal(-EMSGSIZE, sluice_tensor_begin(room, 0, &t, &data));
	assert_int_equal(0, sluice_tensor_begin(room, sizeof(room), &t, &data));
	t.shape[0] = SLUICE_DIM_ANY;
	assert_int_equal(-EINVAL, sluice_tensor_begin(room, sizeof(room), &t, &data));
	t.shape[0] = 4;
	t.modality = 0;
	assert_int_equal(-EINVAL, sluice_tensor_begin(room, sizeof(room), &t, &data));
	assert_non_null(strstr(sluice_error(), "modality is 0"));
}

/* ---------------------------------------------------------------------- sent --- */

static struct sluice_msg send_bytes(struct ring *r, uint32_t bytes)
{
	struct sluice_tensor t = {
		.modality = SLUICE_MODALITY_TEXT, .dtype = SLUICE_DTYPE_U8,
		.rank = 1, .shape = { bytes }, .media = "plain",
	}, back;
	struct sluice_msg msg = { .stream = 5, .counter = 6, .kind = 7 };
	char text[BUFSIZE];
	const void *data;

	memset(text, 'a', sizeof(text));
	assert_int_equal(0, sluice_tensor_send(&r->out, &msg, &t, text, SLUICE_NOW));
	assert_int_equal(0, sluice_claim(&r->in, &msg, SLUICE_NOW));
	assert_int_equal(0, sluice_tensor_read(&msg, &back, &data));
	assert_int_equal(bytes, back.bytes);
	assert_memory_equal(text, data, bytes);
	assert_true(msg.stream == 5 && msg.counter == 6 && msg.kind == 7);
	assert_int_equal(0, sluice_ack(&r->in, &msg));
	return msg;
}

static void test_send(void **state)
{
	struct sluice_tensor t = {
		.modality = SLUICE_MODALITY_TEXT, .dtype = SLUICE_DTYPE_U8,
		.rank = 1, .shape = { BUFSIZE - SLUICE_TENSOR_HEADER + 1 },
	};
	struct sluice_msg msg = { .stream = 1 };
	struct sluice_buffer held;
	char text[BUFSIZE] = "";
	struct ring r;

	make(&r, 0);
	assert_int_equal(SLUICE_NO_BUFFER, send_bytes(&r, 0).buffer);
	assert_int_equal(SLUICE_NO_BUFFER, send_bytes(&r, 12).buffer);
	assert_true(send_bytes(&r, 13).buffer < NBUFS);
	assert_true(send_bytes(&r, BUFSIZE - SLUICE_TENSOR_HEADER).buffer < NBUFS);
	assert_int_equal(-EMSGSIZE, sluice_tensor_send(&r.out, &msg, &t, text, SLUICE_NOW));
	t.rank = 2;
	assert_int_equal(-EINVAL, sluice_tensor_send(&r.out, &msg, &t, text, SLUICE_NOW));
	/* what was refused holds no buffer */
	for (u32 i = 0; i < NBUFS; i++)
		assert_int_equal(0, sluice_buffer_take(&r.out, &held, SLUICE_NOW));
	t.rank = 1;
	assert_int_equal(-EAGAIN, sluice_tensor_send(&r.out, &msg, &t, text, SLUICE_NOW));
	unmake(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_dtype),
		cmocka_unit_test(test_every_modality),
		cmocka_unit_test(test_every_rank),
		cmocka_unit_test(test_encoded),
		cmocka_unit_test(test_layout),
		cmocka_unit_test(test_every_field),
		cmocka_unit_test(test_more_fields),
		cmocka_unit_test(test_untyped),
		cmocka_unit_test(test_every_length),
		cmocka_unit_test(test_overflow),
		cmocka_unit_test(test_begin_refuses),
		cmocka_unit_test(test_send),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
