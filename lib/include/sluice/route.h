/* SPDX-License-Identifier: MIT */
/*
 * route.h: to which stage a message goes, by what it is.
 *
 * Rules are lines of text, tried in order; the first that matches names the next stage, or several
 * that all get it. docs/routing.md has the rules with examples, and the shapes that they make.
 *
 *	struct sluice_routes routes = { .n = 0 };
 *	struct sluice_facts facts;
 *
 *	sluice_routes_parse(&routes, "type image -> eyes; length > 4K -> slow; default -> fast");
 *	sluice_claim(in, &msg, SLUICE_FOREVER);
 *	sluice_facts_read(&msg, &facts);
 *	rule = sluice_routes_match(&routes, &facts);
 *	if (rule >= 0)
 *		next = routes.stage[routes.rule[rule].to[0]];
 *
 * What a message says of its model and its deadline stands in a label before its payload, 64 bytes
 * that sluice_label_begin() writes. Neither kernel nor ring look at it.
 *
 * Nothing here waits, does I/O, allocates memory or keeps a pointer that it was given.
 * `sluicectl route` is these functions between two stages.
 */
#ifndef SLUICE_ROUTE_H
#define SLUICE_ROUTE_H

#include <sluice/sluice.h>
#include <sluice/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------ labels --- */

#define SLUICE_LABEL_MAGIC	0x424c5393u	/* 0x93 "SLB": no text begins like this */
#define SLUICE_LABEL_VERSION	1u
#define SLUICE_LABEL_BYTES	64u		/* before the payload */
#define SLUICE_MODEL_MAX	40		/* of a model's name with its NUL */

/**
 * struct sluice_label - what a message says of itself besides its type
 * @magic:	SLUICE_LABEL_MAGIC; set by sluice_label_begin()
 * @version:	SLUICE_LABEL_VERSION; likewise
 * @reserved:	0
 * @deadline:	ns of CLOCK_MONOTONIC, when its result is wanted; 0: not said
 * @model:	1 to 39 of A-Z a-z 0-9 . _ - : / + @, NUL terminated and filled up with NULs;
 *		"": not said
 */
struct sluice_label {
	uint32_t	magic;
	uint32_t	version;
	uint64_t	reserved;
	uint64_t	deadline;
	char		model[SLUICE_MODEL_MAX];
};

/**
 * sluice_label_begin() - write a label into the beginning of a message
 * @buf:	a taken buffer, or memory to be sent inline
 * @capacity:	bytes of it
 * @l:		deadline and model; the rest is set
 * @payload:	out: where the payload goes, typed or not; the message's len is
 *		SLUICE_LABEL_BYTES more than its
 *
 * Return: 0; -EINVAL, a model's name that cannot be one; -EMSGSIZE, no room.
 */
int sluice_label_begin(void *buf, size_t capacity, struct sluice_label *l, void **payload);

/**
 * sluice_label_read() - look for a label
 * @l:		out: a copy; unchanged on failure
 * @payload:	out: @msg without the label: its data and len are those of the payload
 *
 * Return: 0; -ENOMSG: it has none, @payload is @msg as it is; -EBADMSG: one that makes no sense.
 */
int sluice_label_read(const struct sluice_msg *msg, struct sluice_label *l,
		      struct sluice_msg *payload);

/** sluice_time_left() - ns until @deadline of CLOCK_MONOTONIC, not below 0; of 0: SLUICE_FOREVER */
int64_t sluice_time_left(uint64_t deadline);

/* ------------------------------------------------------------------- facts --- */

/**
 * struct sluice_facts - what rules ask about
 * @length:	bytes of the payload, without label and type
 * @tokens:	how many; of typed messages the elements of modality tokens, else 0
 * @deadline_ns: time left; SLUICE_FOREVER: there is no deadline
 * @kind:	the message's
 * @typed:	@type is set
 * @type:	as sluice_tensor_read() has it
 * @model:	of the label; "" when it does not say
 */
struct sluice_facts {
	uint64_t		length;
	uint64_t		tokens;
	int64_t			deadline_ns;
	uint16_t		kind;
	bool			typed;
	struct sluice_tensor	type;
	char			model[SLUICE_MODEL_MAX];
};

/**
 * sluice_facts_read() - the facts of a message: its label, its type, its length
 *
 * Reads the first 128 bytes at most, once. Return: 0; -EBADMSG: label or type make no sense.
 */
int sluice_facts_read(const struct sluice_msg *msg, struct sluice_facts *f);

/* ------------------------------------------------------------------- rules --- */

#define SLUICE_ROUTES_MAX	32	/* rules */
#define SLUICE_ROUTE_CONDITIONS	4	/* of one rule */
#define SLUICE_ROUTE_TO		8	/* stages that one rule sends to */
#define SLUICE_ROUTE_STAGES	16	/* that all rules together name */
#define SLUICE_ROUTE_TEXT	1024	/* room for the longest rule and its NUL */

/**
 * struct sluice_condition - a part of a rule that must hold
 * @about:	which kind of condition; the library's
 * @min, @max:	of a number, both included
 * @type:	of a type
 * @pattern:	of a model
 */
struct sluice_condition {
	uint32_t	about;
	union {
		struct {
			uint64_t	min, max;
		};
		struct sluice_tensor	type;
		char			pattern[SLUICE_MODEL_MAX];
	};
};

/**
 * struct sluice_route - one rule
 * @nif, @conditions: all must hold; none: it matches everything
 * @nto, @to:	stages that get the message, as indices into sluice_routes.stage
 * @loop:	bits by position in @to: it is meant that this leads back
 */
struct sluice_route {
	uint32_t		nif;
	struct sluice_condition	conditions[SLUICE_ROUTE_CONDITIONS];
	uint32_t		nto;
	uint32_t		loop;
	uint8_t			to[SLUICE_ROUTE_TO];
};

/**
 * struct sluice_routes - rules in order
 * @n, @rule:	as written
 * @nstages, @stage: the names in them, each once
 */
struct sluice_routes {
	uint32_t		n;
	uint32_t		nstages;
	struct sluice_route	rule[SLUICE_ROUTES_MAX];
	char			stage[SLUICE_ROUTE_STAGES][SLUICE_NAME_MAX];
};

/**
 * sluice_routes_parse() - add the rules in @text, separated by ';' or new lines
 * @text:	rule = "default" or condition { "and" condition }, "->", ["loop"] stage { ","
 *		["loop"] stage }. Conditions:
 *
 *		length > 4K		bytes; < <= == >= > or a range, 1K..4K
 *		tokens <= 512		likewise
 *		deadline < 200ms	time left, in ns us ms s m; none is longer than any
 *		kind 7			the message's kind, or a range of them
 *		type image/png		a declaration as of sluice_type_parse()
 *		model smollm*		name, with * and ? for any letters and any one
 *
 * A rule that an earlier one leaves nothing is refused. Return: 0; -EINVAL; -E2BIG, more than
 * there is room for. On failure nothing is added.
 */
int sluice_routes_parse(struct sluice_routes *r, const char *text);

/** sluice_routes_match() - index of the first rule that matches; -ENOENT: none does */
int sluice_routes_match(const struct sluice_routes *r, const struct sluice_facts *f);

/** sluice_route_format() - rule @i as it can be parsed again. Return: @text */
const char *sluice_route_format(const struct sluice_routes *r, uint32_t i,
				char text[SLUICE_ROUTE_TEXT]);

#ifdef __cplusplus
}
#endif
#endif /* SLUICE_ROUTE_H */
