// SPDX-License-Identifier: MIT
/*
 * Description: a type that is accepted is true of the message, a declaration means what it prints
 *
 * One byte of options (0x80: magic, version and the sizes are put right, so that the rest is looked
 * at), a line of declarations, a zero byte, then the payload, allocated to the byte.
 */
#include <errno.h>

#include <sluice/tensor.h>

#include "fuzz.h"

static bool one_line(const char *text)
{
	return text[0] && !strchr(text, '\n') && strlen(text) < 512;
}

/* What is printed of a declaration is the same declaration, but for its limit. */
static void check_declared(const struct sluice_tensor *t)
{
	struct sluice_tensor again, without = *t;
	char text[SLUICE_TYPE_TEXT];

	without.bytes = 0;
	fuzz_check(!sluice_type_parse(sluice_tensor_format(t, text), &again));
	fuzz_check(!memcmp(&without, &again, sizeof(again)));
}

/* A declaration that is fitted to so many bytes is the type of a message with them. */
static void check_fit(const struct sluice_tensor *declared, size_t bytes)
{
	struct sluice_accepts a = { .n = 1, .types = { *declared } };
	struct sluice_tensor t = *declared, back;
	char *payload = malloc(SLUICE_TENSOR_HEADER + bytes);
	struct sluice_msg m = { .data = payload, .len = (uint32_t)(SLUICE_TENSOR_HEADER + bytes) };
	const void *data;
	void *at;

	fuzz_check(payload);
	if (!sluice_tensor_fit(&t, bytes)) {
		fuzz_check(!sluice_tensor_begin(payload, m.len, &t, &at));
		fuzz_check(!sluice_tensor_read(&m, &back, &data) && data == at);
		fuzz_check(back.bytes == bytes && !memcmp(&back, &t, sizeof(t)));
		fuzz_check(!sluice_tensor_check(&back, &a));
		fuzz_check(sluice_tensor_begin(payload, m.len - 1, &t, &at) == -EMSGSIZE);
	}
	free(payload);
}

/* Read as it is told, element by element, nothing lies outside. */
static void check_read(const struct sluice_msg *m, const struct sluice_tensor *t, const char *data)
{
	uint64_t elements = 1;
	char text[SLUICE_TYPE_TEXT];
	struct sluice_tensor again;

	fuzz_check(sluice_modality_name(t->modality) && sluice_dtype_size(t->dtype));
	fuzz_check(t->rank <= SLUICE_TENSOR_RANK && strlen(t->media) < SLUICE_MEDIA_MAX);
	for (unsigned int i = 0; i < t->rank; i++) {
		elements *= t->shape[i];
		fuzz_check(elements <= UINT32_MAX);
	}
	fuzz_check(elements * sluice_dtype_size(t->dtype) == t->bytes);
	fuzz_check(data == (const char *)m->data + SLUICE_TENSOR_HEADER);
	fuzz_check(data + t->bytes == (const char *)m->data + m->len);
	fuzz_check(!sluice_type_parse(sluice_tensor_format(t, text), &again));
}

static void put_right(char *payload, size_t len)
{
	struct sluice_tensor h;
	uint64_t bytes;

	if (len < sizeof(h))
		return;
	memcpy(&h, payload, sizeof(h));
	h.magic = SLUICE_TENSOR_MAGIC;
	h.version = SLUICE_TENSOR_VERSION;
	h.bytes = (uint32_t)(len - sizeof(h));
	bytes = sluice_dtype_size(h.dtype);
	/* One dimension that makes the sizes agree, if one byte says so and it can. */
	if (h.rank == 1 && bytes)
		h.shape[0] = (uint32_t)(h.bytes / bytes);
	memcpy(payload, &h, sizeof(h));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size }, line;
	uint8_t options = (uint8_t)fuzz_take(&in, 1);
	struct sluice_accepts accepts = { .stage = "fuzz" };
	struct sluice_msg m = { .len = 0 };
	struct sluice_tensor t;
	const void *body;
	char *text, *payload;

	line = fuzz_take_until(&in, 0);
	text = strndup(line.left ? (const char *)line.data : "", line.left);
	payload = malloc(in.left + !in.left);
	fuzz_check(text && payload);
	if (in.left)
		memcpy(payload, in.data, in.left);
	if (sluice_accepts_parse(&accepts, text))
		fuzz_check(one_line(sluice_error()) && !accepts.n);
	for (uint32_t i = 0; i < accepts.n; i++) {
		check_declared(&accepts.types[i]);
		check_fit(&accepts.types[i], in.left);
	}
	if (options & 0x80)
		put_right(payload, in.left);
	m.len = (uint32_t)in.left;
	m.data = payload;
	if (sluice_tensor_read(&m, &t, &body)) {
		fuzz_check(one_line(sluice_error()));
	} else {
		check_read(&m, &t, body);
		if (sluice_tensor_check(&t, &accepts))
			fuzz_check(one_line(sluice_error()) && strstr(sluice_error(), "fuzz"));
	}
	free(payload);
	free(text);
	return 0;
}
