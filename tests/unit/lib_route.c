// SPDX-License-Identifier: MIT
/*
 * Description: rules send each message where they say; what makes no sense is refused by name
 */
#include <stdio.h>

#include <sluice/route.h>

#include "lib_memory.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static struct sluice_routes rules(const char *text)
{
	struct sluice_routes r;

	memset(&r, 0, sizeof(r));
	if (sluice_routes_parse(&r, text))
		fail_msg("%s", sluice_error());
	return r;
}

static struct sluice_facts about(uint64_t length, uint64_t tokens, int64_t deadline_ns,
				 uint16_t kind, const char *type, const char *model)
{
	struct sluice_facts f;

	memset(&f, 0, sizeof(f));
	f.length = length;
	f.tokens = tokens;
	f.deadline_ns = deadline_ns;
	f.kind = kind;
	f.typed = type[0];
	if (type[0] && (sluice_type_parse(type, &f.type) || sluice_tensor_fit(&f.type, length)))
		fail_msg("%s", sluice_error());
	strcpy(f.model, model);
	return f;
}

/* One condition: holds for the first facts, not for the second. */
static void test_each_kind(void **state)
{
	const struct {
		const char *rule;
		struct sluice_facts yes, no;
	} rows[] = {
		{ "length > 4K -> a", about(4097, 0, -1, 0, "", ""), about(4096, 0, -1, 0, "", "") },
		{ "length >= 4K -> a", about(4096, 0, -1, 0, "", ""), about(4095, 0, -1, 0, "", "") },
		{ "length < 1M -> a", about(1048575, 0, -1, 0, "", ""),
		  about(1048576, 0, -1, 0, "", "") },
		{ "length <= 1G -> a", about(1 << 30, 0, -1, 0, "", ""),
		  about((1 << 30) + 1, 0, -1, 0, "", "") },
		{ "length == 7 -> a", about(7, 0, -1, 0, "", ""), about(8, 0, -1, 0, "", "") },
		{ "length 7 -> a", about(7, 0, -1, 0, "", ""), about(6, 0, -1, 0, "", "") },
		{ "length 1K..2K -> a", about(2048, 0, -1, 0, "", ""), about(2049, 0, -1, 0, "", "") },
		{ "length 1K..2K -> a", about(1024, 0, -1, 0, "", ""), about(1023, 0, -1, 0, "", "") },
		{ "tokens<=512->a", about(9, 512, -1, 0, "", ""), about(9, 513, -1, 0, "", "") },
		{ "kind 7 -> a", about(9, 0, -1, 7, "", ""), about(9, 0, -1, 8, "", "") },
		{ "kind 7..65535 -> a", about(9, 0, -1, 65535, "", ""), about(9, 0, -1, 6, "", "") },
		{ "deadline < 200ms -> a", about(9, 0, 199999999, 0, "", ""),
		  about(9, 0, 200000000, 0, "", "") },
		{ "deadline < 2s -> a", about(9, 0, 0, 0, "", ""), about(9, 0, -1, 0, "", "") },
		{ "deadline > 1us -> a", about(9, 0, -1, 0, "", ""), about(9, 0, 1000, 0, "", "") },
		{ "type image/png -> a", about(9, 0, -1, 0, "image/png", ""),
		  about(9, 0, -1, 0, "image/jpeg", "") },
		{ "type image/* -> a", about(9, 0, -1, 0, "image/gif", ""),
		  about(9, 0, -1, 0, "image:u8[?,3,1]", "") },
		{ "type image -> a", about(9, 0, -1, 0, "image:u8[?,3,1]", ""),
		  about(8, 0, -1, 0, "tokens:i32[?]", "") },
		{ "type text -> a", about(9, 0, -1, 0, "text", ""), about(9, 0, -1, 0, "", "") },
		{ "type text <= 8 -> a", about(8, 0, -1, 0, "text", ""),
		  about(9, 0, -1, 0, "text", "") },
		{ "model smollm2 -> a", about(9, 0, -1, 0, "", "smollm2"),
		  about(9, 0, -1, 0, "", "smollm2b") },
		{ "model smol*2? -> a", about(9, 0, -1, 0, "", "smollm2-2b"),
		  about(9, 0, -1, 0, "", "smollm2") },
		{ "model *a*b -> a", about(9, 0, -1, 0, "", "xaxbab"),
		  about(9, 0, -1, 0, "", "xaxbabc") },
		{ "model * -> a", about(9, 0, -1, 0, "", "any"), about(9, 0, -1, 0, "", "") },
		{ "length > 4 and kind 7 -> a", about(5, 0, -1, 7, "", ""),
		  about(5, 0, -1, 6, "", "") },
		{ "length > 4 and kind 7 -> a", about(5, 0, -1, 7, "", ""),
		  about(4, 0, -1, 7, "", "") },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct sluice_routes r = rules(rows[i].rule);

		if (sluice_routes_match(&r, &rows[i].yes) != 0)
			fail_msg("'%s' does not match", rows[i].rule);
		if (sluice_routes_match(&r, &rows[i].no) != -ENOENT)
			fail_msg("'%s' matches", rows[i].rule);
	}
}

/* What is left in the type of a message that has none is no type. */
static void test_untyped(void **state)
{
	struct sluice_routes r = rules("type image -> a");
	struct sluice_facts f = about(9, 0, -1, 0, "image/png", "");

	f.typed = false;
	assert_int_equal(sluice_routes_match(&r, &f), -ENOENT);
}

static void test_first_wins(void **state)
{
	struct sluice_routes r = rules("kind 1 -> a; kind 0..2 -> b, c\n\n;length > 4K -> loop d ; "
				       "default -> a,b");
	struct sluice_facts f = about(9, 0, -1, 1, "", "");

	assert_int_equal(r.n, 4);
	assert_int_equal(r.nstages, 4);
	assert_int_equal(sluice_routes_match(&r, &f), 0);
	f.kind = 2;
	assert_int_equal(sluice_routes_match(&r, &f), 1);
	assert_int_equal(r.rule[1].nto, 2);
	assert_string_equal(r.stage[r.rule[1].to[0]], "b");
	assert_string_equal(r.stage[r.rule[1].to[1]], "c");
	assert_int_equal(r.rule[1].loop, 0);
	f.kind = 3;
	assert_int_equal(sluice_routes_match(&r, &f), 3);
	f.length = 5000;
	assert_int_equal(sluice_routes_match(&r, &f), 2);
	assert_string_equal(r.stage[r.rule[2].to[0]], "d");
	assert_int_equal(r.rule[2].loop, 1);
	assert_string_equal(rules("default -> loop").stage[0], "loop");
}

/* What is printed is the same rule. */
static void test_format(void **state)
{
	static const char *const rows[] = {
		"length 4097..9223372036854775807 -> slow",
		"deadline 0ns..199999999ns and kind 7..7 -> now, loop later",
		"type image:u8[?,?,3] <= 4096 -> eyes",
		"model a*b? and tokens 0..512 -> a",
		"default -> a, b, c",
	};
	char text[SLUICE_ROUTE_TEXT];

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct sluice_routes r = rules(rows[i]);

		assert_string_equal(sluice_route_format(&r, 0, text), rows[i]);
	}
}

static void test_refused(void **state)
{
	static const char *const rows[][2] = {
		{ "", "no rule" },
		{ " ; \n ", "no rule" },
		{ "length > 4K", "where to?" },
		{ "-> a", "which messages?" },
		{ "default ->", "no name of a stage" },
		{ "default -> a,", "no name of a stage" },
		{ "default -> a b", "'a b' is no name" },
		{ "default -> ../a", "no name of a stage" },
		{ "default -> .a", "no name of a stage" },
		{ "default -> a -> b", "no name of a stage" },
		{ "default -> a, b, a", "'a' stands there twice" },
		{ "default -> a,b,c,d,e,f,g,h,i", "more than 8 stages" },
		{ "lenght > 4 -> a", "unknown condition 'lenght'; there are length, tokens" },
		{ "5 -> a", "unknown condition '5'" },
		{ "length -> a", "as in 'length > 4K'" },
		{ "length > -> a", "as in 'length > 4K'" },
		{ "length > 4X -> a", "as in 'length > 4K'" },
		{ "length > 4 K -> a", "as in 'length > 4K'" },
		{ "length >> 4 -> a", "as in 'length > 4K'" },
		{ "length < 0 -> a", "as in 'length > 4K'" },
		{ "length > 9223372036854775807 -> a", "as in 'length > 4K'" },
		{ "length > 99999999999999999999 -> a", "as in 'length > 4K'" },
		{ "length > 9999999999999G -> a", "as in 'length > 4K'" },
		{ "length 5..4 -> a", "the smaller one first" },
		{ "length > 4..5 -> a", "as in 'length > 4K'" },
		{ "kind 65536 -> a", "from 0 to 65535" },
		{ "deadline < 200 -> a", "as in 'deadline < 200ms'" },
		{ "type imag/png -> a", "unknown modality 'imag'" },
		{ "model -> a", "as in 'model smollm*'" },
		{ "model a b -> a", "one word" },
		{ "model a\"b -> a", "write letters" },
		{ "model 1234567890123456789012345678901234567890 -> a", "at most 39" },
		{ "kind 1 and -> a", "compares with no number" },
		{ "kind 1 and  and kind 2 -> a", "before and after each 'and'" },
		{ "kind 1 and length 1 and tokens 1 and kind 2 and kind 3 -> a", "more than 4" },
		{ "kind 1\t-> a", "plain ASCII" },
		{ "default -> a; kind 1 -> b", "never reached: 'default -> a'" },
		{ "length > 4K -> a; length > 8K -> b", "never reached" },
		{ "length > 4K -> a; kind 1 and length > 8K -> b", "never reached" },
		{ "type image -> a; type image/png -> b", "never reached" },
		{ "type image/png -> a; type image/png <= 4K -> b", "never reached" },
		{ "model smol* -> a; model smollm* -> b", "never reached" },
		{ "kind 1 -> a; kind 2 -> b; kind 1 -> c", "never reached" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct sluice_routes r = { .n = 0 };

		if (sluice_routes_parse(&r, rows[i][0]) != -EINVAL)
			fail_msg("'%s' is accepted", rows[i][0]);
		if (!strstr(sluice_error(), rows[i][1]))
			fail_msg("'%s': '%s' does not say '%s'", rows[i][0], sluice_error(),
				 rows[i][1]);
		assert_int_equal(r.n, 0);
	}
}

/* Looks alike, but the earlier rule leaves something. */
static void test_reached(void **state)
{
	static const char *const rows[] = {
		"length > 8K -> a; length > 4K -> b",
		"kind 1 and length > 8K -> a; length > 8K -> b",
		"type image/png <= 4K -> a; type image/png -> b",
		"type image/png -> a; type image -> b",
		"type image/* -> a; type image -> b",
		"model smol? -> a; model smol* -> b",
		"model a*c -> a; model a* -> b",
		"length 1..5 -> a; tokens 1..5 -> b",
	};

	for (size_t i = 0; i < COUNT(rows); i++)
		assert_int_equal(rules(rows[i]).n, 2);
}

static void test_limits(void **state)
{
	struct sluice_routes r, before;
	char text[64];
	int i;

	memset(&r, 0, sizeof(r));
	for (i = 0; i < SLUICE_ROUTE_STAGES; i++) {
		snprintf(text, sizeof(text), "kind %d -> s%d", i, i);
		assert_int_equal(sluice_routes_parse(&r, text), 0);
	}
	before = r;
	assert_int_equal(sluice_routes_parse(&r, "kind 100 -> s0; kind 101 -> s16"), -E2BIG);
	assert_memory_equal(&r, &before, sizeof(r));
	for (; i < SLUICE_ROUTES_MAX; i++) {
		snprintf(text, sizeof(text), "kind %d -> s0", i);
		assert_int_equal(sluice_routes_parse(&r, text), 0);
	}
	assert_int_equal(sluice_routes_parse(&r, "kind 99 -> s0"), -E2BIG);
	assert_non_null(strstr(sluice_error(), "more than 32 rules"));
	assert_int_equal(r.n, SLUICE_ROUTES_MAX);
}

/* A label and a type before 12 bytes of tokens. */
static void test_facts(void **state)
{
	struct sluice_tensor type = {
		.modality = SLUICE_MODALITY_TOKENS, .dtype = SLUICE_DTYPE_I32, .rank = 1,
		.shape = { 3 },
	};
	struct sluice_label label = { .model = "smollm2", .deadline = 1 };
	char buf[256];
	struct sluice_msg m = { .data = buf, .kind = 9 };
	struct sluice_facts f;
	void *payload, *data;

	assert_int_equal(sluice_label_begin(buf, sizeof(buf), &label, &payload), 0);
	assert_int_equal(sluice_tensor_begin(payload, 192, &type, &data), 0);
	m.len = 64 + 64 + 12;
	assert_int_equal(sluice_facts_read(&m, &f), 0);
	assert_int_equal(f.length, 12);
	assert_int_equal(f.tokens, 3);
	assert_int_equal(f.deadline_ns, 0);	/* it is long over */
	assert_int_equal(f.kind, 9);
	assert_true(f.typed);
	assert_string_equal(f.model, "smollm2");
	m.data = payload;
	m.len -= 64;
	assert_int_equal(sluice_facts_read(&m, &f), 0);
	assert_int_equal(f.deadline_ns, SLUICE_FOREVER);
	assert_string_equal(f.model, "");
	m.data = "hello";
	m.len = 5;
	assert_int_equal(sluice_facts_read(&m, &f), 0);
	assert_false(f.typed);
	assert_int_equal(f.length, 5);
	m.len = 0;
	assert_int_equal(sluice_facts_read(&m, &f), 0);
	assert_int_equal(f.length, 0);
}

#define SPOIL(change, text)						\
	do {								\
		struct sluice_label *at __attribute__((unused)) = (void *)buf;	\
		assert_int_equal(sluice_label_begin(buf, 64, &label, &payload), 0);	\
		change;							\
		assert_int_equal(sluice_label_read(&m, &label, &inner), -EBADMSG);	\
		assert_non_null(strstr(sluice_error(), text));		\
	} while (0)

static void test_bad_labels(void **state)
{
	struct sluice_label label = { .model = "a", .deadline = 5 }, none;
	struct sluice_msg m = { .len = 64 }, inner;
	char *buf = malloc(64);	/* so that a sanitizer sees the end */
	void *payload;

	m.data = buf;
	SPOIL(at->version = 2, "version 2");
	SPOIL(at->reserved = 1, "version");
	SPOIL(at->model[1] = '\n', "letters");
	SPOIL(at->model[5] = 'b', "letters");
	SPOIL(memset(at->model, 'a', sizeof(at->model)), "letters");
	SPOIL(m.len = 63, "begins like a label");
	m.len = 64;
	assert_int_equal(sluice_label_begin(buf, 64, &label, &payload), 0);
	assert_int_equal(sluice_label_read(&m, &none, &inner), 0);
	assert_int_equal(none.deadline, 5);
	assert_int_equal(inner.len, 0);
	assert_int_equal(sluice_label_begin(buf, 63, &label, &payload), -EMSGSIZE);
	strcpy(label.model, "a b");
	assert_int_equal(sluice_label_begin(buf, 64, &label, &payload), -EINVAL);
	memset(label.model, 'a', sizeof(label.model));
	assert_int_equal(sluice_label_begin(buf, 64, &label, &payload), -EINVAL);
	free(buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_kind),
		cmocka_unit_test(test_untyped),
		cmocka_unit_test(test_first_wins),
		cmocka_unit_test(test_format),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_reached),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_facts),
		cmocka_unit_test(test_bad_labels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
