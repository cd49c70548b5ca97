/* SPDX-License-Identifier: MIT */
/* fuzz.h - what the fuzz targets share: reading an input piece by piece, and checks */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must hold whatever the input. A failure is found like a crash, by its abort(). */
#define fuzz_check(condition)							\
	do {									\
		if (!(condition)) {						\
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
			abort();						\
		}								\
	} while (0)

/* What is left of an input; at its end, zeros. */
struct fuzz_input {
	const uint8_t *data;
	size_t left;
};

static inline uint64_t fuzz_take(struct fuzz_input *in, size_t bytes)
{
	size_t n = bytes < in->left ? bytes : in->left;
	uint64_t value = 0;

	if (n)
		memcpy(&value, in->data, n);
	in->data += n;
	in->left -= n;
	return value;
}

/* Up to the next @end, which is taken too, or all that is left. */
static inline struct fuzz_input fuzz_take_until(struct fuzz_input *in, uint8_t end)
{
	const uint8_t *at = in->left ? memchr(in->data, end, in->left) : NULL;
	struct fuzz_input part = { in->data, at ? (size_t)(at - in->data) : in->left };

	in->data += part.left + (at != NULL);
	in->left -= part.left + (at != NULL);
	return part;
}

/* file.c: from now on open() of any path is this file; NULL: as usual again. */
void fuzz_file(const void *data, size_t size);

#endif /* TESTS_FUZZ_FUZZ_H */
