// SPDX-License-Identifier: MIT
/*
 * Description: a declaration of types says what it means, and what it does not take is named
 */
#include <stdio.h>

#include "lib_memory.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static struct sluice_tensor type_of(const char *text)
{
	struct sluice_tensor t;

	if (sluice_type_parse(text, &t))
		fail_msg("%s", sluice_error());
	return t;
}

/* A declaration without anything open is the type of a message. */
static struct sluice_tensor message(const char *text, uint32_t bytes)
{
	struct sluice_tensor t = type_of(text);

	if (sluice_tensor_fit(&t, bytes))
		fail_msg("%s", sluice_error());
	return t;
}

static void test_good(void **state)
{
	static const char *const rows[][2] = {
		{ "text", "text" },
		{ "text/plain", "text/plain" },
		{ "tokens:i32[?]", "tokens:i32[?]" },
		{ "tokens:i32", "tokens:i32" },
		{ "  hidden : f32 [ 576 ]  ", "hidden:f32[576]" },
		{ "kv:bf16[2,?,3,?,5,6,7,8]", "kv:bf16[2,?,3,?,5,6,7,8]" },
		{ "logits:?[49152]", "logits:?[49152]" },
		{ "logits:?", "logits" },
		{ "embedding:f16[]", "embedding:f16[]" },
		{ "image:u8[?,?,3]", "image:u8[?,?,3]" },
		{ "image/png", "image/png" },
		{ "image/svg+xml <= 64K", "image/svg+xml" },
		{ "image/svg+xml-1.2.3.4", "image/svg+xml-1.2.3.4" },
		{ "image/*", "image/*" },
		{ "audio:f32[?]@16000", "audio:f32[?]@16000" },
		{ "audio@8000<=1M", "audio@8000" },
		{ "control:bool[0]", "control:bool[0]" },
	};
	char text[SLUICE_TYPE_TEXT];

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct sluice_tensor t = type_of(rows[i][0]), again;

		assert_string_equal(rows[i][1], sluice_tensor_format(&t, text));
		again = type_of(text);
		t.bytes = 0;
		assert_memory_equal(&t, &again, sizeof(t));
	}
	assert_int_equal(65536, type_of("image/svg+xml <= 64K").bytes);
	assert_int_equal(1 << 20, type_of("audio@8000<=1M").bytes);
	assert_int_equal(3u << 30, type_of("kv <= 3G").bytes);
	assert_int_equal(4294967231u, type_of("kv<=4294967231").bytes);
	assert_int_equal(UINT32_MAX, type_of("audio@4294967295").rate);
}

/* The longest type there is fits. */
static void test_longest(void **state)
{
	struct sluice_tensor t = {
		.modality = SLUICE_MODALITY_EMBEDDING, .dtype = SLUICE_DTYPE_BF16,
		.rank = SLUICE_TENSOR_RANK, .rate = UINT32_MAX,
	};
	char text[SLUICE_TYPE_TEXT];

	for (u32 i = 0; i < SLUICE_TENSOR_RANK; i++)
		t.shape[i] = UINT32_MAX - 1;
	assert_string_equal("embedding:bf16[4294967294,4294967294,4294967294,4294967294,4294967294,"
			    "4294967294,4294967294,4294967294]@4294967295",
			    sluice_tensor_format(&t, text));
	/* what makes no sense is not printed, whatever it is */
	memset(&t, 0xff, sizeof(t));
	assert_string_equal("?/*@4294967295", sluice_tensor_format(&t, text));
	memset(t.media, 0, sizeof(t.media));
	t.rate = 0;
	t.rank = 200;
	assert_string_equal("?:?[?,?,?,?,?,?,?,?]", sluice_tensor_format(&t, text));
}

static void test_bad(void **state)
{
	static const char *const rows[][2] = {
		{ "", "unknown modality ''; known are text, tokens, embedding, hidden, kv, logits, "
		  "image, audio, control" },
		{ "imge:u8[?]", "'imge:u8[?]': unknown modality 'imge'; known are text" },
		{ "Image/png", "unknown modality 'Image'" },
		{ "imag", "unknown modality 'imag'" },
		{ "images", "unknown modality 'images'" },
		{ "tokens:int32[?]", "unknown dtype 'int32'; known are f32, f64, f16, bf16, i8, "
		  "u8, i16, u16, i32, u32, i64, u64, bool, and ? for any" },
		{ "tokens:", "unknown dtype ''" },
		{ "tokens:[3]", "unknown dtype ''" },
		{ "tokens[3]", "'[3]' is too much" },
		{ "tokens:i32[", "'' is no length of a dimension" },
		{ "tokens:i32[3", "the shape has no ']'" },
		{ "tokens:i32[3,]", "'' is no length of a dimension" },
		{ "tokens:i32[-1]", "'-1' is no length of a dimension: write a number, or ? "
		  "for any" },
		{ "tokens:i32[3x]", "'3x' is no length" },
		{ "tokens:i32[4294967295]", "'4294967295' is no length" },
		{ "tokens:i32[99999999999999999999999]", "is no length" },
		{ "tokens:i32[1,2,3,4,5,6,7,8,9]", "more than 8 dimensions" },
		{ "hidden:f32[65536,65536]", "the shape makes more than 4294967231 bytes" },
		{ "hidden:f64[536870904,?]", "the shape makes more than 4294967231 bytes" },
		{ "hidden:?[?,4294967294,2]", "the shape makes more than" },
		{ "image/", "'' is no encoding" },
		{ "image/PNG", "'PNG' is no encoding: write 1 to 15 of a-z 0-9 . + -, or * for "
		  "any" },
		{ "image/abcdefghijklmnop", "'abcdefghijklmnop' is no encoding" },
		{ "image/png:u8", "':u8' is too much: one type is wanted" },
		{ "tokens/png", "only text, image and audio are encoded, tokens is not" },
		{ "tokens@8000", "only audio has a sample rate" },
		{ "audio@", "'' is no sample rate" },
		{ "audio@0", "'0' is no sample rate" },
		{ "audio@44.1k", "'44.1k' is no sample rate" },
		{ "kv<=", "'' is no size: write bytes, or 64K, 4M, 1G, less than 4G" },
		{ "kv<=K", "'K' is no size" },
		{ "kv<=0", "'0' is no size" },
		{ "kv<=4G", "'4G' is no size" },
		{ "kv<=4294967232", "'4294967232' is no size" },
		{ "kv<4", "'<4' is too much" },
		{ "text:f32", "text is bytes: write text or text:u8[?]" },
		{ "text:u8[2,3]", "text is bytes" },
		{ "text, tokens", "', tokens' is too much: one type is wanted" },
		{ "te\nxt", "has a byte 0x0a in it" },
		{ "t\xc3\xa4", "has a byte 0xc3 in it" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct sluice_tensor t = { .rate = 77 };

		if (!sluice_type_parse(rows[i][0], &t))
			fail_msg("'%s' is taken", rows[i][0]);
		if (!strstr(sluice_error(), rows[i][1]))
			fail_msg("'%s' does not say '%s'", sluice_error(), rows[i][1]);
		assert_int_equal(77, t.rate);
	}
}

static void test_long_line(void **state)
{
	struct sluice_accepts a = { .n = 0 };
	char line[4096];

	memset(line, 'x', sizeof(line) - 1);
	line[sizeof(line) - 1] = '\0';
	assert_int_equal(-EINVAL, sluice_accepts_parse(&a, line));
	assert_in_range(strlen(sluice_error()), 100, 511);
}

static void test_lines(void **state)
{
	struct sluice_accepts a = { .stage = "s" }, before;
	char line[256] = "text";

	assert_int_equal(0, sluice_accepts_parse(&a, "image:u8[?,?,3], image/png <= 4M ,text"));
	assert_int_equal(3, a.n);
	assert_int_equal(SLUICE_MODALITY_TEXT, a.types[2].modality);
	assert_int_equal(4 << 20, a.types[1].bytes);
	assert_int_equal(0, sluice_accepts_parse(&a, "kv"));
	assert_int_equal(4, a.n);
	before = a;
	assert_int_equal(-EINVAL, sluice_accepts_parse(&a, "text, tokns"));
	assert_non_null(strstr(sluice_error(), "unknown modality 'tokns'"));
	assert_int_equal(-EINVAL, sluice_accepts_parse(&a, "text,"));
	assert_int_equal(-EINVAL, sluice_accepts_parse(&a, ""));
	assert_int_equal(-EINVAL, sluice_accepts_parse(&a, "text kv"));
	assert_non_null(strstr(sluice_error(), "'kv' is not understood; types are separated by"));
	assert_int_equal(-EINVAL, sluice_accepts_parse(&a, "text\tkv"));
	for (u32 n = 1; a.n + n <= SLUICE_ACCEPTS_MAX; n++)
		strcat(line, ",text");
	assert_int_equal(-E2BIG, sluice_accepts_parse(&a, line));
	assert_memory_equal(&before, &a, sizeof(a));
	line[strlen(line) - 5] = '\0';
	assert_int_equal(0, sluice_accepts_parse(&a, line));
	assert_int_equal(SLUICE_ACCEPTS_MAX, a.n);
	assert_int_equal(-E2BIG, sluice_accepts_parse(&a, "text"));
}

/* What is declared, what comes, is it taken? */
static void test_matches(void **state)
{
	static const struct {
		const char *declared, *comes;
		uint32_t bytes;
		int err;
	} rows[] = {
		{ "tokens:i32[?]", "tokens:i32", 12, 0 },
		{ "tokens:i32[?]", "tokens:i32", 0, 0 },
		{ "tokens:i32[3]", "tokens:i32", 12, 0 },
		{ "tokens:i32[3]", "tokens:i32", 16, -EPROTOTYPE },
		{ "tokens:i32[?]", "tokens:u32", 12, -EPROTOTYPE },
		{ "tokens:i32[?]", "logits:i32", 12, -EPROTOTYPE },
		{ "tokens:i32[?]", "tokens:i32[3,1]", 12, -EPROTOTYPE },
		{ "tokens:i32[?]", "tokens:i32[3,0]", 0, -EPROTOTYPE },
		{ "tokens:i32[?]", "tokens:i32[]", 4, -EPROTOTYPE },
		{ "tokens:?[?]", "tokens:i64", 16, 0 },
		{ "tokens:i32", "tokens:i32[3,1]", 12, 0 },
		{ "tokens", "tokens:i16[3,2]", 12, 0 },
		{ "hidden:f32[?,576]", "hidden:f32[2,576]", 4608, 0 },
		{ "hidden:f32[?,576]", "hidden:f32[576,2]", 4608, -EPROTOTYPE },
		{ "image:u8[?,?,3]", "image:u8[480,640,3]", 921600, 0 },
		{ "image:u8[?,?,3]", "image:u8[480,640,4]", 1228800, -EPROTOTYPE },
		{ "image:u8[?]", "image/png", 100, -EPROTOTYPE },
		{ "image:u8", "image/png", 100, -EPROTOTYPE },
		{ "image", "image/png", 100, 0 },
		{ "image", "image:u8[4,5,3]", 60, 0 },
		{ "image/*", "image/png", 100, 0 },
		{ "image/*", "image:u8[100]", 100, -EPROTOTYPE },
		{ "image/png", "image/png", 100, 0 },
		{ "image/png", "image/png2", 100, -EPROTOTYPE },
		{ "image/png", "image:u8[100]", 100, -EPROTOTYPE },
		{ "image/png", "audio/png", 100, -EPROTOTYPE },
		{ "audio:f32[?]@16000", "audio:f32[?]@16000", 400, 0 },
		{ "audio:f32[?]@16000", "audio:f32[?]@8000", 400, -EPROTOTYPE },
		{ "audio:f32[?]@16000", "audio:f32[?]", 400, -EPROTOTYPE },
		{ "audio:f32[?]", "audio:f32[?]@8000", 400, 0 },
		{ "image/png<=100", "image/png", 100, 0 },
		{ "image/png<=100", "image/png", 101, -EMSGSIZE },
		{ "image/png<=100,image", "image/png", 101, 0 },
		{ "image/png<=100,image/*<=200", "image/png", 201, -EMSGSIZE },
		{ "image/png<=100,text", "text", 101, 0 },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct sluice_tensor t = message(rows[i].comes, rows[i].bytes);
		struct sluice_accepts a = { .n = 0 };

		assert_int_equal(0, sluice_accepts_parse(&a, rows[i].declared));
		if (sluice_tensor_check(&t, &a) != rows[i].err)
			fail_msg("%s and %s, %u bytes: not %d", rows[i].declared, rows[i].comes,
				 rows[i].bytes, rows[i].err);
	}
}

static void test_says(void **state)
{
	struct sluice_tensor image = message("image:u8[480,640,3]", 921600);
	struct sluice_accepts a = { .stage = "encoder" };

	assert_int_equal(-EPROTOTYPE, sluice_tensor_check(&image, &a));
	assert_string_equal("stage 'encoder' takes nothing; got image:u8[480,640,3]",
			    sluice_error());
	assert_int_equal(0, sluice_accepts_parse(&a, "tokens:i32[?]"));
	assert_int_equal(-EPROTOTYPE, sluice_tensor_check(&image, &a));
	assert_string_equal("stage 'encoder' takes tokens:i32[?]; got image:u8[480,640,3]",
			    sluice_error());
	assert_int_equal(0, sluice_accepts_parse(&a, "image/png <= 1K"));
	a.stage[0] = '\0';
	assert_int_equal(-EPROTOTYPE, sluice_tensor_check(&image, &a));
	assert_string_equal("this stage takes tokens:i32[?] or image/png; got image:u8[480,640,3]",
			    sluice_error());
	image = message("image/png", 1025);
	assert_int_equal(-EMSGSIZE, sluice_tensor_check(&image, &a));
	assert_string_equal("this stage takes at most 1024 bytes of image/png; got 1025",
			    sluice_error());
	/* however much is declared, what came is named */
	for (a.n = 0; a.n < SLUICE_ACCEPTS_MAX; )
		assert_int_equal(0, sluice_accepts_parse(&a, "kv:bf16[1000,?,1000,?,?,?,?,?]"));
	assert_int_equal(-EPROTOTYPE, sluice_tensor_check(&image, &a));
	assert_non_null(strstr(sluice_error(), "…; got image/png"));
}

static void test_fit(void **state)
{
	struct sluice_tensor t = message("image:u8[?,640,3]", 921600);

	assert_int_equal(480, t.shape[0]);
	assert_int_equal(921600, t.bytes);
	t = message("tokens:i32", 12);
	assert_true(t.rank == 1 && t.shape[0] == 3);
	t = message("image/png", 70);
	assert_true(t.rank == 1 && t.shape[0] == 70 && t.dtype == SLUICE_DTYPE_U8);
	t = message("text", 0);
	assert_true(t.rank == 1 && !t.shape[0] && t.dtype == SLUICE_DTYPE_U8);
	t = message("hidden:f32[]", 4);
	assert_int_equal(0, t.rank);
	t = message("kv:f16[2,?]<=40", 40);
	assert_int_equal(10, t.shape[1]);
}

static void test_fit_refuses(void **state)
{
	static const struct {
		const char *type;
		size_t bytes;
		int err;
		const char *says;
	} rows[] = {
		{ "image:u8[?,?,3]", 60, -EINVAL, "more than one dimension open" },
		{ "image:u8[?,640,3]", 61, -EINVAL, "61 bytes do not fill 'image:u8[?,640,3]'" },
		{ "image:u8[4,5,3]", 61, -EINVAL, "61 bytes do not fill" },
		{ "image:u8[?,0,3]", 0, -EINVAL, "0 bytes do not fill" },
		{ "tokens:i32", 13, -EINVAL, "13 bytes do not fill 'tokens:i32'" },
		{ "image", 60, -EINVAL, "write image:dtype[shape], or its encoding" },
		{ "kv:?[?]", 60, -EINVAL, "write kv:dtype[shape]" },
		{ "image/*", 60, -EINVAL, "leaves the encoding open" },
		{ "image/png<=59", 60, -EMSGSIZE, "60 bytes are more than the 59 that image/png" },
		{ "text", 4294967232, -EMSGSIZE, "4294967232 bytes are more than" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct sluice_tensor t = type_of(rows[i].type), before = t;

		assert_int_equal(rows[i].err, sluice_tensor_fit(&t, rows[i].bytes));
		if (!strstr(sluice_error(), rows[i].says))
			fail_msg("'%s' does not say '%s'", sluice_error(), rows[i].says);
		assert_memory_equal(&before, &t, sizeof(t));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_longest),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_long_line),
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_matches),
		cmocka_unit_test(test_says),
		cmocka_unit_test(test_fit),
		cmocka_unit_test(test_fit_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
