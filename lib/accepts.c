// SPDX-License-Identifier: MIT
/*
 * accepts.c: what a stage declares that it takes, in one line of text, and the comparison with
 * what came. The grammar, which docs/types.md explains:
 *
 *	line = type { "," type }
 *	type = modality [ "/" encoding | ":" dtype [ "[" [ dim { "," dim } ] "]" ] ]
 *	       [ "@" rate ] [ "<=" size ]
 *	dtype and dim may be "?", encoding may be "*"
 */
#include <stdio.h>
#include <string.h>

#include "internal.h"

#define LIST_MAX	256	/* of what a stage takes, in the message of an error */

/**
 * struct reader - a line of declarations
 * @whole:	the line, for messages of errors
 * @at:		what is not read yet
 */
struct reader {
	const char *whole;
	const char *at;
};

/* A part of the line between two delimiters. */
struct word {
	const char *text;
	int len;
};

static int refuse(const struct reader *r, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static int refuse(const struct reader *r, const char *fmt, ...)
{
	char why[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, sizeof(why), fmt, args);
	va_end(args);
	return __sluice_err(-EINVAL, "'%.100s': %s", r->whole, why);
}

/* ---------------------------------------------------------------- words --- */

static const char *rest(struct reader *r)
{
	r->at += strspn(r->at, " ");
	return r->at;
}

static bool skip(struct reader *r, const char *token)
{
	size_t n = strlen(token);

	if (strncmp(rest(r), token, n))
		return false;
	r->at += n;
	return true;
}

static struct word next_word(struct reader *r)
{
	struct word w = { .text = rest(r) };

	w.len = (int)strcspn(w.text, " ,/:[]@<=");
	r->at += w.len;
	return w;
}

static bool is(struct word w, const char *name)
{
	return strlen(name) == (size_t)w.len && !memcmp(w.text, name, (size_t)w.len);
}

/* Decimal digits and nothing else; false also when it is more than @max. */
static bool to_number(struct word w, u64 max, u64 *value)
{
	u64 n = 0;

	for (int i = 0; i < w.len; i++) {
		if (w.text[i] < '0' || w.text[i] > '9')
			return false;
		n = n * 10 + (u64)(w.text[i] - '0');
		if (n > max)
			return false;
	}
	*value = n;
	return w.len > 0;
}

/* ---------------------------------------------------------------- parts --- */

static int read_modality(struct reader *r, struct sluice_tensor *t)
{
	struct word w = next_word(r);
	char known[SLUICE_KNOWN_MAX];

	for (uint8_t i = 1; i < SLUICE_MODALITY_COUNT; i++) {
		if (is(w, sluice_modality_name(i))) {
			t->modality = i;
			return 0;
		}
	}
	return refuse(r, "unknown modality '%.*s'; known are %s", w.len, w.text,
		      __sluice_modalities(known));
}

static int read_dtype(struct reader *r, struct sluice_tensor *t)
{
	struct word w = next_word(r);
	char known[SLUICE_KNOWN_MAX];

	if (is(w, "?"))
		return 0;
	for (uint8_t i = 1; i < SLUICE_DTYPE_COUNT; i++) {
		if (is(w, sluice_dtype_name(i))) {
			t->dtype = i;
			return 0;
		}
	}
	return refuse(r, "unknown dtype '%.*s'; known are %s, and ? for any", w.len, w.text,
		      __sluice_dtypes(known));
}

static int read_media(struct reader *r, struct sluice_tensor *t)
{
	struct word w = next_word(r);

	if (!__sluice_may_be_encoded(t->modality))
		return refuse(r, "only text, image and audio are encoded, %s is not",
			      sluice_modality_name(t->modality));
	if (w.len < SLUICE_MEDIA_MAX)
		memcpy(t->media, w.text, (size_t)w.len);
	if (is(w, "*") || __sluice_media_valid(t->media))
		return 0;
	return refuse(r, "'%.*s' is no encoding: write 1 to %d of a-z 0-9 . + -, or * for any",
		      w.len, w.text, SLUICE_MEDIA_MAX - 1);
}

static int read_shape(struct reader *r, struct sluice_tensor *t)
{
	t->rank = 0;
	if (skip(r, "]"))
		return 0;
	do {
		struct word w = next_word(r);
		u64 dim = SLUICE_DIM_ANY;

		if (t->rank == SLUICE_TENSOR_RANK)
			return refuse(r, "more than %u dimensions", SLUICE_TENSOR_RANK);
		if (!is(w, "?") && !to_number(w, SLUICE_DIM_ANY - 1, &dim))
			return refuse(r, "'%.*s' is no length of a dimension: write a number, or ? "
				      "for any", w.len, w.text);
		t->shape[t->rank++] = (u32)dim;
	} while (skip(r, ","));
	return skip(r, "]") ? 0 : refuse(r, "the shape has no ']'");
}

static int read_rate(struct reader *r, struct sluice_tensor *t)
{
	struct word w = next_word(r);
	u64 rate;

	if (t->modality != SLUICE_MODALITY_AUDIO)
		return refuse(r, "only audio has a sample rate");
	if (!to_number(w, UINT32_MAX, &rate) || !rate)
		return refuse(r, "'%.*s' is no sample rate", w.len, w.text);
	t->rate = (u32)rate;
	return 0;
}

static int read_limit(struct reader *r, struct sluice_tensor *t)
{
	struct word w = next_word(r), digits = w;
	const char *unit = w.len ? strchr("KMG", w.text[w.len - 1]) : NULL;
	u32 shift = unit ? 10 * (u32)(unit - "KMG" + 1) : 0;
	u64 bytes;

	if (unit)
		digits.len--;
	if (!to_number(digits, SLUICE_TENSOR_BYTES >> shift, &bytes) || !bytes)
		return refuse(r, "'%.*s' is no size: write bytes, or 64K, 4M, 1G, less than 4G",
			      w.len, w.text);
	t->bytes = (u32)(bytes << shift);
	return 0;
}

/* A declaration that no message can ever meet is a mistake of whoever wrote it. */
static int check_possible(const struct reader *r, const struct sluice_tensor *t)
{
	u32 shape[SLUICE_TENSOR_RANK], rank = t->rank == SLUICE_RANK_ANY ? 0 : t->rank;

	for (u32 i = 0; i < rank; i++)
		shape[i] = t->shape[i] == SLUICE_DIM_ANY ? 1 : t->shape[i];
	if (__sluice_shape_bytes(shape, rank, sluice_dtype_size(t->dtype) ?: 1) < 0)
		return refuse(r, "the shape makes more than %u bytes", SLUICE_TENSOR_BYTES);
	if (t->modality == SLUICE_MODALITY_TEXT &&
	    ((t->dtype != SLUICE_DTYPE_ANY && t->dtype != SLUICE_DTYPE_U8) ||
	     (t->rank != SLUICE_RANK_ANY && t->rank != 1)))
		return refuse(r, "text is bytes: write text or text:u8[?]");
	return 0;
}

static int read_type(struct reader *r, struct sluice_tensor *t)
{
	int ret;

	memset(t, 0, sizeof(*t));
	t->rank = SLUICE_RANK_ANY;
	ret = read_modality(r, t);
	if (!ret && skip(r, "/")) {
		ret = read_media(r, t);
	} else if (!ret && skip(r, ":")) {
		ret = read_dtype(r, t);
		if (!ret && skip(r, "["))
			ret = read_shape(r, t);
	}
	if (!ret && skip(r, "@"))
		ret = read_rate(r, t);
	if (!ret && skip(r, "<="))
		ret = read_limit(r, t);
	return ret ? ret : check_possible(r, t);
}

/* ---------------------------------------------------------- whole lines --- */

/* Errors quote the line, and are one line for people. */
static int check_line(const char *line)
{
	for (; *line; line++)
		if (*line < ' ' || *line > '~')
			return __sluice_err(-EINVAL, "a declaration of types has a byte 0x%02x "
					    "in it, which is not printable ASCII",
					    (unsigned char)*line);
	return 0;
}

int sluice_type_parse(const char *text, struct sluice_tensor *t)
{
	struct reader r = { .whole = text, .at = text };
	struct sluice_tensor type;
	int ret = check_line(text);

	if (!ret)
		ret = read_type(&r, &type);
	if (!ret && *rest(&r))
		ret = refuse(&r, "'%.40s' is too much: one type is wanted", r.at);
	if (!ret)
		*t = type;
	return ret;
}

int sluice_accepts_parse(struct sluice_accepts *a, const char *line)
{
	struct reader r = { .whole = line, .at = line };
	struct sluice_accepts more = *a;
	int ret = check_line(line);

	if (ret)
		return ret;
	do {
		if (more.n >= SLUICE_ACCEPTS_MAX)
			return __sluice_err(-E2BIG, "'%.100s': a stage declares at most %u types",
					    line, SLUICE_ACCEPTS_MAX);
		ret = read_type(&r, &more.types[more.n++]);
	} while (!ret && skip(&r, ","));
	if (!ret && *rest(&r))
		ret = refuse(&r, "'%.40s' is not understood; types are separated by ','", r.at);
	if (!ret)
		*a = more;
	return ret;
}

/* ---------------------------------------------------------------- check --- */

static bool same_shape(const struct sluice_tensor *t, const struct sluice_tensor *declared)
{
	if (declared->rank == SLUICE_RANK_ANY)
		return true;
	if (t->rank != declared->rank)
		return false;
	for (u32 i = 0; i < t->rank && i < SLUICE_TENSOR_RANK; i++)
		if (declared->shape[i] != SLUICE_DIM_ANY && declared->shape[i] != t->shape[i])
			return false;
	return true;
}

/* All but the limit of bytes. */
static bool matches(const struct sluice_tensor *t, const struct sluice_tensor *declared)
{
	if (t->modality != declared->modality || (declared->rate && t->rate != declared->rate))
		return false;
	if (declared->media[0] == '*')
		return t->media[0];
	/* "image": encoded or not; "image:u8" says how it lies in memory, so it is not encoded */
	if (!declared->media[0] && declared->dtype == SLUICE_DTYPE_ANY &&
	    declared->rank == SLUICE_RANK_ANY)
		return true;
	return !strncmp(t->media, declared->media, SLUICE_MEDIA_MAX) &&
	       (declared->dtype == SLUICE_DTYPE_ANY || declared->dtype == t->dtype) &&
	       same_shape(t, declared);
}

bool __sluice_type_matches(const struct sluice_tensor *t, const struct sluice_tensor *declared)
{
	return matches(t, declared) && (!declared->bytes || t->bytes <= declared->bytes);
}

/* "tokens:i32[?] or image/png"; "…" for what there is no room for. */
static const char *list_types(const struct sluice_accepts *a, char list[LIST_MAX])
{
	char text[SLUICE_TYPE_TEXT];

	snprintf(list, LIST_MAX, "%s", a->n ? "" : "nothing");
	for (u32 i = 0; i < a->n && i < SLUICE_ACCEPTS_MAX; i++) {
		sluice_tensor_format(&a->types[i], text);
		if (strlen(list) + strlen(text) + sizeof(" or …") > LIST_MAX) {
			__sluice_append(list, LIST_MAX, "…");
			break;
		}
		__sluice_append(list, LIST_MAX, "%s%s", i ? " or " : "", text);
	}
	return list;
}

int sluice_tensor_check(const struct sluice_tensor *t, const struct sluice_accepts *a)
{
	char name[SLUICE_NAME_MAX + 16] = "this stage", got[SLUICE_TYPE_TEXT], list[LIST_MAX];
	u32 limit = 0;

	if (a->stage[0])
		snprintf(name, sizeof(name), "stage '%.*s'", SLUICE_NAME_MAX - 1, a->stage);
	for (u32 i = 0; i < a->n && i < SLUICE_ACCEPTS_MAX; i++) {
		if (!matches(t, &a->types[i]))
			continue;
		if (!a->types[i].bytes || t->bytes <= a->types[i].bytes)
			return 0;
		if (a->types[i].bytes > limit)
			limit = a->types[i].bytes;
	}
	sluice_tensor_format(t, got);
	if (limit)
		return __sluice_err(-EMSGSIZE, "%s takes at most %u bytes of %s; got %u", name,
				    limit, got, t->bytes);
	return __sluice_err(-EPROTOTYPE, "%s takes %s; got %s", name, list_types(a, list), got);
}

/* ------------------------------------------------------------------ fit --- */

/* The one dimension that is open, from the others. */
static int fit_shape(struct sluice_tensor *t, size_t bytes, const char *text)
{
	u32 shape[SLUICE_TENSOR_RANK], *open = NULL;
	int64_t known;

	for (u32 i = 0; i < t->rank; i++) {
		shape[i] = t->shape[i];
		if (shape[i] != SLUICE_DIM_ANY)
			continue;
		if (open)
			return __sluice_err(-EINVAL, "'%s' leaves more than one dimension open: "
					    "the bytes give one, write the others", text);
		open = &t->shape[i];
		shape[i] = 1;
	}
	known = __sluice_shape_bytes(shape, t->rank, sluice_dtype_size(t->dtype));
	if (open && known > 0 && bytes % (u64)known == 0) {
		*open = (u32)(bytes / (u64)known);
		return 0;
	}
	if (!open && known == (int64_t)bytes)
		return 0;
	return __sluice_err(-EINVAL, "%zu bytes do not fill '%s'", bytes, text);
}

int sluice_tensor_fit(struct sluice_tensor *t, size_t bytes)
{
	char text[SLUICE_TYPE_TEXT];
	struct sluice_tensor h = *t;
	u32 limit = h.bytes ? h.bytes : SLUICE_TENSOR_BYTES;
	int ret;

	sluice_tensor_format(&h, text);
	if (bytes > limit)
		return __sluice_err(-EMSGSIZE, "%zu bytes are more than the %u that %s may have",
				    bytes, limit, text);
	if (h.media[0] == '*')
		return __sluice_err(-EINVAL, "'%s' leaves the encoding open: write which", text);
	if (h.media[0] || h.modality == SLUICE_MODALITY_TEXT)
		h.dtype = SLUICE_DTYPE_U8;
	if (!sluice_dtype_size(h.dtype))
		return __sluice_err(-EINVAL, "'%s' does not say how the bytes are meant: write "
				    "%s:dtype[shape]%s", text,
				    sluice_modality_name(h.modality) ?: "?",
				    __sluice_may_be_encoded(h.modality) ? ", or its encoding" : "");
	if (h.rank == SLUICE_RANK_ANY) {
		h.rank = 1;
		h.shape[0] = SLUICE_DIM_ANY;
	}
	if (h.rank > SLUICE_TENSOR_RANK)
		return __sluice_err(-EINVAL, "'%s' has more than %u dimensions", text,
				    SLUICE_TENSOR_RANK);
	ret = fit_shape(&h, bytes, text);
	if (ret)
		return ret;
	h.bytes = (u32)bytes;
	*t = h;
	return 0;
}
