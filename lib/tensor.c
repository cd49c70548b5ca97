// SPDX-License-Identifier: MIT
/*
 * tensor.c: the 64 bytes that say what is in a message: written, and read from memory that others
 * write.
 */
#include <stdio.h>
#include <string.h>

#include "internal.h"

#define COUNT(array)	(sizeof(array) / sizeof((array)[0]))

_Static_assert(sizeof(struct sluice_tensor) == SLUICE_TENSOR_HEADER, "the data begins there");
_Static_assert(offsetof(struct sluice_tensor, shape) == 8 &&
	       offsetof(struct sluice_tensor, bytes) == 40 &&
	       offsetof(struct sluice_tensor, media) == 48, "the layout in docs/types.md");

/* ---------------------------------------------------------------- names --- */

static const char *const modalities[] = {
	[SLUICE_MODALITY_TEXT]		= "text",
	[SLUICE_MODALITY_TOKENS]	= "tokens",
	[SLUICE_MODALITY_EMBEDDING]	= "embedding",
	[SLUICE_MODALITY_HIDDEN]	= "hidden",
	[SLUICE_MODALITY_KV]		= "kv",
	[SLUICE_MODALITY_LOGITS]	= "logits",
	[SLUICE_MODALITY_IMAGE]		= "image",
	[SLUICE_MODALITY_AUDIO]		= "audio",
	[SLUICE_MODALITY_CONTROL]	= "control",
};

static const struct {
	const char *name;
	size_t size;
} dtypes[] = {
	[SLUICE_DTYPE_F32]	= { "f32", 4 },
	[SLUICE_DTYPE_F64]	= { "f64", 8 },
	[SLUICE_DTYPE_F16]	= { "f16", 2 },
	[SLUICE_DTYPE_BF16]	= { "bf16", 2 },
	[SLUICE_DTYPE_I8]	= { "i8", 1 },
	[SLUICE_DTYPE_U8]	= { "u8", 1 },
	[SLUICE_DTYPE_I16]	= { "i16", 2 },
	[SLUICE_DTYPE_U16]	= { "u16", 2 },
	[SLUICE_DTYPE_I32]	= { "i32", 4 },
	[SLUICE_DTYPE_U32]	= { "u32", 4 },
	[SLUICE_DTYPE_I64]	= { "i64", 8 },
	[SLUICE_DTYPE_U64]	= { "u64", 8 },
	[SLUICE_DTYPE_BOOL]	= { "bool", 1 },
};

_Static_assert(COUNT(modalities) == SLUICE_MODALITY_COUNT, "each modality has a name");
_Static_assert(COUNT(dtypes) == SLUICE_DTYPE_COUNT, "each dtype has a name");

const char *sluice_modality_name(unsigned int modality)
{
	return modality < COUNT(modalities) ? modalities[modality] : NULL;
}

const char *sluice_dtype_name(unsigned int dtype)
{
	return dtype < COUNT(dtypes) ? dtypes[dtype].name : NULL;
}

size_t sluice_dtype_size(unsigned int dtype)
{
	return dtype < COUNT(dtypes) ? dtypes[dtype].size : 0;
}

/* At the end of @text, as much as there is room for. */
void __sluice_append(char *text, size_t size, const char *fmt, ...)
{
	size_t used = strnlen(text, size);
	va_list args;

	va_start(args, fmt);
	vsnprintf(text + used, size - used, fmt, args);
	va_end(args);
}

static void format_shape(const struct sluice_tensor *t, char text[SLUICE_TYPE_TEXT])
{
	__sluice_append(text, SLUICE_TYPE_TEXT, "[");
	for (u32 i = 0; i < t->rank && i < SLUICE_TENSOR_RANK; i++) {
		__sluice_append(text, SLUICE_TYPE_TEXT, i ? "," : "");
		if (t->shape[i] == SLUICE_DIM_ANY)
			__sluice_append(text, SLUICE_TYPE_TEXT, "?");
		else
			__sluice_append(text, SLUICE_TYPE_TEXT, "%u", t->shape[i]);
	}
	__sluice_append(text, SLUICE_TYPE_TEXT, "]");
}

const char *sluice_tensor_format(const struct sluice_tensor *t, char text[SLUICE_TYPE_TEXT])
{
	snprintf(text, SLUICE_TYPE_TEXT, "%s", sluice_modality_name(t->modality) ?: "?");
	if (t->media[0])
		__sluice_append(text, SLUICE_TYPE_TEXT, "/%.*s", SLUICE_MEDIA_MAX - 1,
				__sluice_media_valid(t->media) ? t->media : "*");
	else if (t->dtype != SLUICE_DTYPE_ANY || t->rank != SLUICE_RANK_ANY)
		__sluice_append(text, SLUICE_TYPE_TEXT, ":%s", sluice_dtype_name(t->dtype) ?: "?");
	if (!t->media[0] && t->rank != SLUICE_RANK_ANY)
		format_shape(t, text);
	if (t->rate)
		__sluice_append(text, SLUICE_TYPE_TEXT, "@%u", t->rate);
	return text;
}

/* --------------------------------------------------------------- checks --- */

/* What may stand behind "image/", up to the NUL: nothing that a terminal or a log would obey. */
bool __sluice_media_valid(const char media[SLUICE_MEDIA_MAX])
{
	size_t n = strnlen(media, SLUICE_MEDIA_MAX);

	return n && n < SLUICE_MEDIA_MAX &&
	       strspn(media, "abcdefghijklmnopqrstuvwxyz0123456789.+-") == n;
}

bool __sluice_may_be_encoded(unsigned int modality)
{
	return modality == SLUICE_MODALITY_TEXT || modality == SLUICE_MODALITY_IMAGE ||
	       modality == SLUICE_MODALITY_AUDIO;
}

/*
 * Bytes of @shape, or -EOVERFLOW when they, or those of its other dimensions beside one of length
 * 0, do not fit into a message: so no product of dimensions that a reader forms overflows 32 bits.
 */
int64_t __sluice_shape_bytes(const u32 *shape, u32 rank, size_t element)
{
	u64 bytes = element;
	bool empty = false;

	for (u32 i = 0; i < rank; i++) {
		if (!shape[i])
			empty = true;
		else if (__builtin_mul_overflow(bytes, shape[i], &bytes))
			return -EOVERFLOW;
	}
	if (bytes > SLUICE_TENSOR_BYTES)
		return -EOVERFLOW;
	return empty ? 0 : (int64_t)bytes;
}

static int check_media(const struct sluice_tensor *t, int err)
{
	size_t n = strnlen(t->media, SLUICE_MEDIA_MAX);

	if (n && !__sluice_media_valid(t->media))
		return __sluice_err(err, "the type of the message names its encoding with other "
				    "than at most %d of a-z 0-9 . + -", SLUICE_MEDIA_MAX - 1);
	for (; n < SLUICE_MEDIA_MAX; n++)
		if (t->media[n])
			return __sluice_err(err, "the type of the message has something behind its "
					    "encoding's name");
	if (t->media[0] && !__sluice_may_be_encoded(t->modality))
		return __sluice_err(err, "the type of the message is %s/%s: only text, image and "
				    "audio are encoded", modalities[t->modality], t->media);
	if (t->rate && t->modality != SLUICE_MODALITY_AUDIO)
		return __sluice_err(err, "the type of the message has a sample rate, %u, but is %s",
				    t->rate, modalities[t->modality]);
	if ((t->media[0] || t->modality == SLUICE_MODALITY_TEXT) &&
	    (t->dtype != SLUICE_DTYPE_U8 || t->rank != 1))
		return __sluice_err(err, "the type of the message is %s%s%s in %s of rank %u; text "
				    "and encoded data are u8[bytes]", modalities[t->modality],
				    t->media[0] ? "/" : "", t->media, dtypes[t->dtype].name,
				    t->rank);
	return 0;
}

/* Everything but magic, version and @bytes; the bytes that the shape makes, or @err and why. */
static int64_t check_type(const struct sluice_tensor *t, int err)
{
	char known[SLUICE_KNOWN_MAX];
	int64_t bytes;

	if (!sluice_modality_name(t->modality))
		return __sluice_err(err, "the message's modality is %u, which this library does "
				    "not know; known are %s", t->modality,
				    __sluice_modalities(known));
	if (!sluice_dtype_name(t->dtype))
		return __sluice_err(err, "the message's dtype is %u, which this library does "
				    "not know; known are %s", t->dtype,
				    __sluice_dtypes(known));
	if (t->rank > SLUICE_TENSOR_RANK)
		return __sluice_err(err, "the message's type has %u dimensions; %u are the most",
				    t->rank, SLUICE_TENSOR_RANK);
	for (u32 i = 0; i < SLUICE_TENSOR_RANK; i++)
		if (i < t->rank ? t->shape[i] == SLUICE_DIM_ANY : t->shape[i])
			return __sluice_err(err, "the message's type has %u dimensions, and number "
					    "%u is %u", t->rank, i + 1, t->shape[i]);
	bytes = __sluice_shape_bytes(t->shape, t->rank, dtypes[t->dtype].size);
	if (bytes < 0)
		return __sluice_err(err, "the shape of the message's type makes more than %u bytes",
				    SLUICE_TENSOR_BYTES);
	return check_media(t, err) ? err : bytes;
}

/* Names in the order of their numbers, "text, tokens, …". */
const char *__sluice_modalities(char known[SLUICE_KNOWN_MAX])
{
	known[0] = '\0';
	for (size_t i = 1; i < COUNT(modalities); i++)
		__sluice_append(known, SLUICE_KNOWN_MAX, "%s%s", i > 1 ? ", " : "", modalities[i]);
	return known;
}

const char *__sluice_dtypes(char known[SLUICE_KNOWN_MAX])
{
	known[0] = '\0';
	for (size_t i = 1; i < COUNT(dtypes); i++)
		__sluice_append(known, SLUICE_KNOWN_MAX, "%s%s", i > 1 ? ", " : "", dtypes[i].name);
	return known;
}

/* ---------------------------------------------------------------- write --- */

int sluice_tensor_begin(void *buf, size_t capacity, struct sluice_tensor *t, void **data)
{
	struct sluice_tensor h = *t;
	int64_t bytes = check_type(&h, -EINVAL);

	if (bytes < 0)
		return (int)bytes;
	if (capacity < SLUICE_TENSOR_HEADER || capacity - SLUICE_TENSOR_HEADER < (u64)bytes)
		return __sluice_err(-EMSGSIZE, "%lld bytes of data and %u of their type do not fit "
				    "into %zu; create the stage with a larger --buffer-size",
				    (long long)bytes, SLUICE_TENSOR_HEADER, capacity);
	h.magic = SLUICE_TENSOR_MAGIC;
	h.version = SLUICE_TENSOR_VERSION;
	h.bytes = (u32)bytes;
	memcpy(buf, &h, sizeof(h));
	*t = h;
	*data = (char *)buf + SLUICE_TENSOR_HEADER;
	return 0;
}

static int send_inline(struct sluice_ep *ep, struct sluice_msg *msg, struct sluice_tensor *t,
		       const void *data, int64_t timeout_ns)
{
	char payload[SLUICE_INLINE_MAX];
	void *at;
	int ret = sluice_tensor_begin(payload, sizeof(payload), t, &at);

	if (ret)
		return ret;
	if (t->bytes)
		memcpy(at, data, t->bytes);
	msg->data = payload;
	msg->len = SLUICE_TENSOR_HEADER + t->bytes;
	msg->buffer = SLUICE_NO_BUFFER;
	ret = sluice_send(ep, msg, timeout_ns);
	msg->data = NULL;
	return ret;
}

int sluice_tensor_send(struct sluice_ep *ep, struct sluice_msg *msg, struct sluice_tensor *t,
		       const void *data, int64_t timeout_ns)
{
	int64_t bytes = check_type(t, -EINVAL);
	u64 deadline = deadline_of(timeout_ns), now;
	struct sluice_buffer buf;
	void *at;
	int ret;

	if (bytes < 0)
		return (int)bytes;
	if (bytes <= SLUICE_INLINE_MAX - SLUICE_TENSOR_HEADER)
		return send_inline(ep, msg, t, data, timeout_ns);
	ret = sluice_buffer_take(ep, &buf, timeout_ns);
	if (ret)
		return ret;
	ret = sluice_tensor_begin(buf.data, sluice_buffer_size(ep), t, &at);
	if (!ret) {
		memcpy(at, data, t->bytes);
		msg->data = NULL;
		msg->len = SLUICE_TENSOR_HEADER + t->bytes;
		msg->buffer = buf.index;
		/* What the wait for the buffer has left of the time. */
		if (timeout_ns > 0) {
			now = __sluice_now();
			timeout_ns = now < deadline ? (int64_t)(deadline - now) : SLUICE_NOW;
		}
		ret = sluice_send(ep, msg, timeout_ns);
	}
	if (ret)
		sluice_buffer_drop(ep, &buf);
	return ret;
}

/* ----------------------------------------------------------------- read --- */

int sluice_tensor_read(const struct sluice_msg *msg, struct sluice_tensor *t, const void **data)
{
	struct sluice_tensor h = { .magic = 0 };
	int64_t bytes;

	/* Whoever sent it may still write: one copy is read, and from here on only the copy. */
	if (msg->len)
		memcpy(&h, msg->data, msg->len < sizeof(h) ? msg->len : sizeof(h));
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (h.magic != SLUICE_TENSOR_MAGIC)
		return __sluice_err_lazy(-ENOMSG, ERROR_UNTYPED, NULL);
	if (msg->len < SLUICE_TENSOR_HEADER)
		return __sluice_err(-EBADMSG, "the message ends after %u bytes, within the %u of "
				    "its type", msg->len, SLUICE_TENSOR_HEADER);
	if (h.version != SLUICE_TENSOR_VERSION)
		return __sluice_err(-EBADMSG, "the message's type is written in version %u; this "
				    "library knows %u", h.version, SLUICE_TENSOR_VERSION);
	bytes = check_type(&h, -EBADMSG);
	if (bytes < 0)
		return (int)bytes;
	if (h.bytes != bytes)
		return __sluice_err(-EBADMSG, "the message's type says %u bytes of data, its shape "
				    "makes %lld", h.bytes, (long long)bytes);
	if (msg->len - SLUICE_TENSOR_HEADER != h.bytes)
		return __sluice_err(-EBADMSG, "the message's type says %u bytes of data, the "
				    "message has %u", h.bytes, msg->len - SLUICE_TENSOR_HEADER);
	*t = h;
	*data = (const char *)msg->data + SLUICE_TENSOR_HEADER;
	return 0;
}
