/* SPDX-License-Identifier: MIT */
/*
 * tensor.h: messages that say what is in them.
 *
 * A typed message begins with 64 bytes, struct sluice_tensor, that name modality, dtype and
 * shape; the data follows, untouched. Neither kernel nor ring look at it, and a message without
 * it costs what it always did. docs/types.md has the layout and the declarations on one page.
 *
 *	struct sluice_tensor type = {				// whoever sends
 *		.modality = SLUICE_MODALITY_IMAGE, .dtype = SLUICE_DTYPE_U8,
 *		.rank = 3, .shape = { 480, 640, 3 },
 *	};
 *
 *	sluice_buffer_take(out, &buf, SLUICE_FOREVER);
 *	sluice_tensor_begin(buf.data, sluice_buffer_size(out), &type, &data);
 *	render(data);						// straight into the buffer
 *	msg.len = SLUICE_TENSOR_HEADER + type.bytes;
 *	msg.buffer = buf.index;
 *	sluice_send(out, &msg, SLUICE_FOREVER);
 *
 *	struct sluice_accepts accepts = { .stage = "eyes" };	// whoever receives
 *
 *	sluice_accepts_parse(&accepts, "image:u8[?,?,3], image/png <= 4M");
 *	sluice_claim(in, &msg, SLUICE_FOREVER);
 *	err = sluice_tensor_read(&msg, &type, &data);
 *	if (!err)
 *		err = sluice_tensor_check(&type, &accepts);
 *	if (err)						// sluice_error() names the type
 *		sluice_nack(in, &msg, -err, 0, SLUICE_NACK_DEAD);
 *
 * No function here waits but sluice_tensor_send(), none keeps a pointer that it was given, and
 * none allocates memory.
 */
#ifndef SLUICE_TENSOR_H
#define SLUICE_TENSOR_H

#include <sluice/sluice.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SLUICE_TENSOR_MAGIC	0x544c5393u	/* 0x93 "SLT": no text begins like this */
#define SLUICE_TENSOR_VERSION	1u
#define SLUICE_TENSOR_HEADER	64u		/* bytes before the data */
#define SLUICE_TENSOR_RANK	8u		/* dimensions at most */
#define SLUICE_TENSOR_BYTES	(UINT32_MAX - SLUICE_TENSOR_HEADER)	/* of data, at most */
#define SLUICE_MEDIA_MAX	16		/* with the terminating NUL */

/* What the data means. Never renumbered. */
enum sluice_modality {
	SLUICE_MODALITY_TEXT		= 1,	/* bytes, UTF-8 */
	SLUICE_MODALITY_TOKENS		= 2,	/* ids of a vocabulary */
	SLUICE_MODALITY_EMBEDDING	= 3,	/* vectors of tokens, images or sounds */
	SLUICE_MODALITY_HIDDEN		= 4,	/* states between layers */
	SLUICE_MODALITY_KV		= 5,	/* keys and values of attention */
	SLUICE_MODALITY_LOGITS		= 6,	/* a score for each id */
	SLUICE_MODALITY_IMAGE		= 7,	/* raw: [height, width, channels]; or encoded */
	SLUICE_MODALITY_AUDIO		= 8,	/* raw: [samples (, channels)]; or encoded */
	SLUICE_MODALITY_CONTROL		= 9,	/* what stages tell each other; theirs to define */
	SLUICE_MODALITY_COUNT
};

/* Elements are in the machine's own byte order: rings do not leave it. Never renumbered. */
enum sluice_dtype {
	SLUICE_DTYPE_F32	= 1,
	SLUICE_DTYPE_F64	= 2,
	SLUICE_DTYPE_F16	= 3,
	SLUICE_DTYPE_BF16	= 4,
	SLUICE_DTYPE_I8		= 5,
	SLUICE_DTYPE_U8		= 6,
	SLUICE_DTYPE_I16	= 7,
	SLUICE_DTYPE_U16	= 8,
	SLUICE_DTYPE_I32	= 9,
	SLUICE_DTYPE_U32	= 10,
	SLUICE_DTYPE_I64	= 11,
	SLUICE_DTYPE_U64	= 12,
	SLUICE_DTYPE_BOOL	= 13,	/* one byte, 0 or 1; not looked at */
	SLUICE_DTYPE_COUNT
};

/* In declarations only, never in a message. */
#define SLUICE_DTYPE_ANY	0u
#define SLUICE_RANK_ANY		0xffu
#define SLUICE_DIM_ANY		UINT32_MAX

/**
 * struct sluice_tensor - the 64 bytes before the data; also what a declaration says of a type
 * @magic:	SLUICE_TENSOR_MAGIC; set by sluice_tensor_begin()
 * @version:	SLUICE_TENSOR_VERSION; likewise
 * @modality:	enum sluice_modality
 * @dtype:	enum sluice_dtype; declaration: or SLUICE_DTYPE_ANY
 * @rank:	dimensions, 0 (one element) to SLUICE_TENSOR_RANK; declaration: or SLUICE_RANK_ANY
 * @shape:	elements in each dimension, the last one varies fastest; 0 beyond @rank;
 *		declaration: or SLUICE_DIM_ANY
 * @bytes:	data bytes, the product of @shape and the dtype's size; set by
 *		sluice_tensor_begin(); declaration: at most so many, 0: no limit but the slot's
 * @rate:	audio: samples a second; 0: not said (declaration: any)
 * @media:	of text, image or audio that is encoded: what follows the '/' in "image/png", lower
 *		case, filled up with NULs; the data then is u8[bytes]. "": not encoded.
 *		declaration: or "*", any encoding
 */
struct sluice_tensor {
	uint32_t	magic;
	uint8_t		version;
	uint8_t		modality;
	uint8_t		dtype;
	uint8_t		rank;
	uint32_t	shape[SLUICE_TENSOR_RANK];
	uint32_t	bytes;
	uint32_t	rate;
	char		media[SLUICE_MEDIA_MAX];
};

/** sluice_modality_name() - "image"; NULL for a number that is none */
const char *sluice_modality_name(unsigned int modality);
/** sluice_dtype_name() - "bf16"; NULL for a number that is none */
const char *sluice_dtype_name(unsigned int dtype);
/** sluice_dtype_size() - bytes of an element; 0 for a number that is none */
size_t sluice_dtype_size(unsigned int dtype);

#define SLUICE_TYPE_TEXT 128	/* room for the longest type and its NUL */

/**
 * sluice_tensor_format() - the type as people write it, "image:u8[480,640,3]", "image/png"
 * @t:		of a message that was read, or a declaration; else what makes no sense is '?'
 *
 * sluice_type_parse() reads it. Return: @text.
 */
const char *sluice_tensor_format(const struct sluice_tensor *t, char text[SLUICE_TYPE_TEXT]);

/* -------------------------------------------------------------- producer side --- */

/**
 * sluice_tensor_begin() - write the header of a message into a buffer
 * @buf:	the beginning of the payload: a taken buffer, or memory to be sent inline
 * @capacity:	bytes of it
 * @t:		the type; out: @magic, @version and @bytes, so that the message's len is
 *		SLUICE_TENSOR_HEADER + @t->bytes
 * @data:	out: where the caller writes @t->bytes; aligned like @buf up to 64 bytes
 *
 * Return: 0; -EINVAL when no message can have this type; -EMSGSIZE when it does not fit.
 */
int sluice_tensor_begin(void *buf, size_t capacity, struct sluice_tensor *t, void **data);

/**
 * sluice_tensor_send() - send one typed message with a copy of its data
 * @msg:	stream, counter and kind are the caller's; the rest is set
 * @t:		as for sluice_tensor_begin()
 * @data:	what @t says, that many bytes
 * @timeout_ns:	to wait for a slot and a buffer
 *
 * Up to SLUICE_INLINE_MAX - SLUICE_TENSOR_HEADER bytes (12: three token ids) go into the slot, more
 * into a buffer taken for it. Return: as sluice_tensor_begin() and sluice_send().
 */
int sluice_tensor_send(struct sluice_ep *ep, struct sluice_msg *msg, struct sluice_tensor *t,
		       const void *data, int64_t timeout_ns);

/* -------------------------------------------------------------- consumer side --- */

/**
 * sluice_tensor_read() - check the header of a received message
 * @t:		out: a copy, the header in shared memory is read once; unchanged on failure
 * @data:	out: @t->bytes in the message, readable as long as the message is; in a buffer
 *		aligned to 64 bytes, in a slot (msg->buffer == SLUICE_NO_BUFFER) to 4: copy
 *		elements of 8 bytes from there
 *
 * After it the type is one that this library knows, and the data is as long as the shape says and
 * ends with the message. What the data says is not looked at.
 *
 * Return: 0; -ENOMSG: the message has no type; -EBADMSG: it has one, which makes no sense.
 */
int sluice_tensor_read(const struct sluice_msg *msg, struct sluice_tensor *t, const void **data);

/* --------------------------------------------------------------- declarations --- */

#define SLUICE_ACCEPTS_MAX 16	/* types of one stage */

/**
 * struct sluice_accepts - what a stage declares that it takes
 * @stage:	for messages of errors; may be ""
 * @n:		types
 * @types:	any one of them will do
 */
struct sluice_accepts {
	char			stage[SLUICE_NAME_MAX];
	uint32_t		n;
	struct sluice_tensor	types[SLUICE_ACCEPTS_MAX];
};

/**
 * sluice_type_parse() - one declaration
 * @text:	"tokens:i32[?]", "hidden:f32[576]", "image:u8[?,?,3]", "audio:f32[?]@16000",
 *		"image/png <= 4M", "image/" followed by an asterisk, "text"
 *
 * A modality alone takes any data of it, encoded or not. '?' is any dtype, or any length of a
 * dimension; without brackets any shape. Return: 0, -EINVAL.
 */
int sluice_type_parse(const char *text, struct sluice_tensor *t);

/**
 * sluice_accepts_parse() - add the declarations in @line, separated by commas
 * Return: 0; -EINVAL; -E2BIG, more than SLUICE_ACCEPTS_MAX. On failure nothing is added.
 */
int sluice_accepts_parse(struct sluice_accepts *a, const char *line);

/**
 * sluice_tensor_check() - is a message of this type taken?
 * @t:		from sluice_tensor_read()
 *
 * Return: 0; -EPROTOTYPE: no, sluice_error() names what is taken and what came; -EMSGSIZE: the type
 * is, so many bytes are not. Nothing declared: nothing is taken.
 */
int sluice_tensor_check(const struct sluice_tensor *t, const struct sluice_accepts *a);

/**
 * sluice_tensor_fit() - make a declaration the type of so many bytes
 * @t:		declaration; out: what it left open is filled in, ready for sluice_tensor_begin()
 *
 * One '?' in the shape follows from the rest; "text", "image/png" and shapes that are left out
 * become one dimension. Return: 0; -EINVAL when more than one is open, or @bytes do not fill the
 * shape; -EMSGSIZE when they are more than declared.
 */
int sluice_tensor_fit(struct sluice_tensor *t, size_t bytes);

#ifdef __cplusplus
}
#endif
#endif /* SLUICE_TENSOR_H */
