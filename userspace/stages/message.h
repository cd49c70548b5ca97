/* SPDX-License-Identifier: MIT */
/*
 * message.h - what the stages of the pipeline say to each other
 *
 *	client --REQUEST--> embedding --PREFILL--> encoder --KV--> decoder --HIDDEN--> output
 *	                    embedding <-----------------TOKEN--------------------------- output
 *	                    embedding --STEP-----------------------> decoder --HIDDEN--> output ...
 *	                    output --TEXT, TEXT, ... END or ERROR--> the client's reply stage
 *
 * A decoder may be several processes, each with some of the layers. A shard that is not the last
 * hands the same kinds on to the next one: STEP and PREFILL with the vectors behind its layers, KV
 * without them. PREFILL may also go to a decoder at once, past the encoder.
 *
 * A stage's state is a cache. Every message of a stream carries its whole request and the ids of
 * all its tokens so far, so that any process can go on from any message. A decoder that does not
 * have the stream's KV (it was restarted, or evicted it) sends REBUILD with the history back to
 * embedding, and the stream goes through prefill again with the same counter.
 *
 * The slot's stream is the request's id, a random number chosen by the client. The slot's counter
 * is the index of the token that the message leads to: a message with the history of n tokens has
 * counter n. Replies count generated tokens from 0. So copies of a message are equal, and whoever
 * has done counter n already drops it.
 *
 * Layout of a payload, in this order, each part aligned to MSG_ALIGN:
 *
 *	struct msg_head | int32_t tokens[n_tokens] | stop strings, each with its NUL | data
 *
 *	kind		data
 *	REQUEST		the prompt: text (MSG_F_RAW), or n_turns times struct msg_turn + content
 *	PREFILL		float vectors[n_tokens][n_embd]
 *	KV		float hidden[n_embd], aligned, then the KV block for n_tokens tokens of
 *			the layers from the receiver's first one on
 *	STEP		float vector[n_embd] of the last token
 *	HIDDEN		float hidden[n_embd] after the last token
 *	ERROR		name of the stage that failed, NUL, one line of text without a NUL
 *	TOKEN, REBUILD, CANCEL	none
 *	FREE		the message has no payload at all
 *
 * Integers and floats are in the machine's own order: rings do not leave the machine.
 */
#ifndef SLUICE_MESSAGE_H
#define SLUICE_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sys/types.h>

#include <sluice/route.h>
#include <sluice/sluice.h>
#include <sluice/tensor.h>

#define MSG_MAGIC	0x45534c53u	/* "SLSE" */
#define MSG_VERSION	3u
#define MSG_ALIGN	64u

/* Bounds on what a message may claim. */
#define MSG_REPLY_PREFIX "reply."	/* of the names of clients' stages */
#define MSG_MAX_CTX	(1u << 17)	/* tokens */
#define MSG_MAX_EMBD	(1u << 16)
#define MSG_MAX_LAYERS	1024u
#define MSG_MODEL_LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-:/+@"
#define MSG_MAX_STOPS	8u
#define MSG_MAX_STOP	256u		/* bytes of a stop string with its NUL */
#define MSG_STOPS_BYTES	(MSG_MAX_STOPS * MSG_MAX_STOP)
#define MSG_MAX_TURNS	1024u
#define MSG_MAX_HOPS	12u
#define MSG_MAX_TEXT	4096u		/* bytes of text in one reply */

/* struct sluice_msg.kind */
enum msg_kind {
	MSG_REQUEST	= 1,	/* client -> embedding: answer this */
	MSG_PREFILL	= 2,	/* embedding -> encoder: vectors of the history */
	MSG_KV		= 3,	/* encoder -> decoder: KV cache and last hidden state */
	MSG_STEP	= 4,	/* embedding -> decoder: vector of the newest token */
	MSG_HIDDEN	= 5,	/* decoder -> output: state that gives the next token */
	MSG_TOKEN	= 6,	/* output -> embedding: the token that was chosen */
	MSG_REBUILD	= 7,	/* decoder -> embedding: I have no KV of this stream */
	MSG_CANCEL	= 8,	/* client -> embedding -> output: stop the stream */
	MSG_FREE	= 9,	/* output -> embedding -> decoder: the stream is over */
	MSG_ERROR	= 10,	/* any stage -> output (msg_head), output -> client (msg_reply) */
	MSG_TEXT	= 11,	/* output -> client: one token */
	MSG_END		= 12,	/* output -> client: the last token, or none, and why */
	MSG_KIND_COUNT
};

enum msg_stage {
	MSG_EMBEDDING	= 0,
	MSG_ENCODER	= 1,
	MSG_DECODER	= 2,
	MSG_OUTPUT	= 3,
	MSG_CLIENT	= 4,
	MSG_STAGE_COUNT
};

enum msg_reason {
	MSG_REASON_EOS		= 1,	/* the model ended its answer */
	MSG_REASON_LENGTH	= 2,	/* the request's limit, or the context is full */
	MSG_REASON_STOP		= 3,	/* a stop string */
	MSG_REASON_CANCEL	= 4,	/* the client asked for it */
	MSG_REASON_COUNT
};

/* struct msg_head.flags */
#define MSG_F_RAW		(1u << 0)	/* continue the text as it is, no chat template */
#define MSG_F_PARSE_SPECIAL	(1u << 1)	/* raw: "<|im_start|>" in the text is the token */
#define MSG_F_IGNORE_EOS	(1u << 2)	/* go on after end-of-sequence, for measurements */
#define MSG_F_ALL		(MSG_F_RAW | MSG_F_PARSE_SPECIAL | MSG_F_IGNORE_EOS)

/**
 * struct msg_hop - one stage's entry in the timing chain of a token
 * @published:	when the previous stage published the message, in sluice_ticks()
 * @claimed:	when this stage claimed it: claimed - published is queueing
 * @done:	when this stage published its result: done - claimed is service
 * @bytes:	payload of the message
 * @stage:	enum msg_stage
 * @attempt:	1 unless it was redelivered
 * @batch:	streams that were computed together
 */
struct msg_hop {
	uint64_t	published;
	uint64_t	claimed;
	uint64_t	done;
	uint32_t	bytes;
	uint8_t		stage;
	uint8_t		attempt;
	uint16_t	batch;
};

/**
 * struct msg_head - the request, and how far it has come
 * @size:	bytes of the whole payload, the slot's len
 * @flags:	MSG_F_*
 * @max_tokens:	tokens to generate; 0 = until the context is full
 * @retry_ms:	ERROR: when it is worth trying again, 0 = it does not say
 * @n_ctx:	tokens that fit into the stream's context; set by embedding
 * @n_embd:	floats of a hidden state; set by embedding
 * @n_prompt:	tokens of the prompt, the first of @n_tokens
 * @n_tokens:	length of the history
 * @n_turns:	REQUEST: turns of the conversation
 * @n_stops:	stop strings
 * @stop_bytes:	of all stop strings with their NULs
 * @data_bytes:	of the data
 * @error:	ERROR: positive errno
 * @stage:	ERROR: enum msg_stage that failed, or MSG_CLIENT for another
 * @attempt:	ERROR: how often the message had been claimed when it was given up; else 0
 * @reply:	the client's stage, NUL terminated
 * @hops:	timing chain since the last token was chosen, or since the request
 * @deadline:	when the client wants the answer, ns of CLOCK_MONOTONIC; 0: it does not say
 * @model:	the one it wants, for rules that route by it, NUL terminated; "": any
 */
struct msg_head {
	uint32_t	magic;
	uint16_t	version;
	uint16_t	kind;
	uint32_t	size;
	uint32_t	flags;
	uint64_t	seed;
	float		temperature;
	float		top_p;
	uint32_t	top_k;
	union {
		uint32_t	max_tokens;
		uint32_t	retry_ms;
	};
	uint32_t	n_ctx;
	uint32_t	n_embd;
	uint32_t	n_prompt;
	uint32_t	n_tokens;
	uint32_t	n_turns;
	uint32_t	n_stops;
	uint32_t	stop_bytes;
	uint32_t	data_bytes;
	uint32_t	error;
	uint32_t	stage;
	uint32_t	n_hops;
	uint32_t	attempt;
	char		reply[SLUICE_NAME_MAX];
	struct msg_hop	hops[MSG_MAX_HOPS];
	uint64_t	deadline;
	char		model[SLUICE_MODEL_MAX];
};

enum msg_role { MSG_SYSTEM = 0, MSG_USER = 1, MSG_ASSISTANT = 2, MSG_ROLE_COUNT };

/* One turn of a conversation: @len bytes of content follow, the next turn begins 4-aligned. */
struct msg_turn {
	uint32_t	role;
	uint32_t	len;
};

/**
 * struct msg_content - one turn of a conversation that has been checked
 * @text:	@len bytes in the data that msg_read_turns() was given, any bytes
 */
struct msg_content {
	enum msg_role	role;
	uint32_t	len;
	const char	*text;
};

/**
 * struct msg_reply - head of TEXT, END and ERROR on the client's reply stage
 * @token:	the token chosen, -1 if there is none (end-of-sequence, cancel, error)
 * @reason:	END: enum msg_reason
 * @error:	ERROR: positive errno; @stage is who failed, on which @attempt
 * @retry_ms:	ERROR: when it is worth trying again, 0 = it does not say
 * @n_prompt:	tokens of the prompt
 * @n_generated: tokens chosen so far, this one included, end-of-sequence not
 * @text_bytes:	valid UTF-8 that this token adds, maybe none; ERROR: as the data of an ERROR
 * @n_ids:	ids of the prompt: with the first token, if they fit, else 0
 *
 * Followed by the text, then 4-aligned int32_t ids[n_ids]. At most MSG_MAX_HOPS - 1 hops, so that
 * the client can add itself.
 */
struct msg_reply {
	uint32_t	magic;
	uint16_t	version;
	uint16_t	kind;
	uint32_t	size;
	int32_t		token;
	uint32_t	reason;
	uint32_t	error;
	uint32_t	stage;
	uint32_t	n_prompt;
	uint32_t	n_generated;
	uint32_t	text_bytes;
	uint32_t	n_ids;
	uint32_t	n_hops;
	uint32_t	attempt;
	uint32_t	retry_ms;
	struct msg_hop	hops[MSG_MAX_HOPS];
};

/**
 * struct msg_failure - what an ERROR says
 * @name:	of the stage, as its ring is called
 * @stage:	which of the pipeline's it is, MSG_CLIENT if it is none of them
 * @attempt:	of the message that failed, 0 if it is not known
 * @error:	positive errno
 * @retry_ms:	when it is worth trying again, 0 if that is not known
 * @text:	one line, no newline
 */
struct msg_failure {
	const char	*name;
	enum msg_stage	stage;
	uint32_t	attempt;
	int		error;
	uint32_t	retry_ms;
	const char	*text;
};

/**
 * struct msg_view - a payload that has been checked, its parts found
 * @head:	a copy: shared memory is read once
 * @tokens:	in the payload; values of ids are not checked
 * @data:	in the payload
 * @stops:	a copy of the stop strings
 */
struct msg_view {
	struct msg_head	head;
	const int32_t	*tokens;
	const void	*data;
	char		stops[MSG_STOPS_BYTES];
};

/**
 * struct msg_write - a payload that is being built in a buffer
 * @tokens:	room for head.n_tokens ids
 */
struct msg_write {
	struct msg_head	*head;
	int32_t		*tokens;
	void		*data;
};

/** msg_kind_name(), msg_stage_name(), msg_reason_name() - for people; never NULL */
const char *msg_kind_name(unsigned int kind);
const char *msg_stage_name(unsigned int stage);
const char *msg_reason_name(unsigned int reason);

/** msg_size() - payload bytes of a message with such a head; 0 if a slot cannot name so many */
size_t msg_size(uint32_t n_tokens, uint32_t stop_bytes, size_t data_bytes);

/** msg_align() - @n rounded up to MSG_ALIGN */
static inline size_t msg_align(size_t n)
{
	return (n + MSG_ALIGN - 1) & ~(size_t)(MSG_ALIGN - 1);
}

/**
 * msg_read() - check a received message
 * @m:		claimed message of any kind but FREE, TEXT, END
 * @v:		out
 *
 * Everything that a count, a size or a string can get wrong is refused here: after it all parts
 * lie inside the payload, the counter agrees with the history, names and stop strings end.
 * Data of PREFILL, KV, STEP and HIDDEN must still be compared with the model's sizes.
 *
 * Return: 0 or -EBADMSG.
 */
int msg_read(const struct sluice_msg *m, struct msg_view *v);

/**
 * msg_read_turns() - find the turns of a REQUEST without MSG_F_RAW
 * @h:		checked head
 * @data:	a private copy of the h->data_bytes of its data: lengths in it are followed
 * @turns:	out: [h->n_turns]
 *
 * Return: 0, or -EBADMSG if the turns do not fill the data exactly.
 */
int msg_read_turns(const struct msg_head *h, const char *data, struct msg_content *turns);

/**
 * msg_begin() - lay out a payload that continues the stream of another
 * @buf:	@capacity bytes
 * @from:	whose request, history and stop strings are copied
 * @kind:	of the new message
 * @n_tokens:	its history: from->head.n_tokens or one more (which the caller then fills in),
 *		or any number if @from has none
 * @data_bytes:	of its data (which the caller fills in)
 *
 * Return: 0, -EMSGSIZE if @capacity is too small.
 */
int msg_begin(void *buf, size_t capacity, const struct msg_view *from, enum msg_kind kind,
	      uint32_t n_tokens, size_t data_bytes, struct msg_write *w);

/**
 * msg_stop() - the @i-th stop string of a checked message
 * Return: NUL terminated.
 */
const char *msg_stop(const struct msg_view *v, unsigned int i);

/**
 * msg_address() - whom a message that cannot be used is from
 * @data:	[len] bytes of a payload, maybe cut off, maybe nonsense
 * @reply:	out: the client's stage
 *
 * Return: 0, or -EBADMSG if it does not say.
 */
int msg_address(const void *data, size_t len, char reply[SLUICE_NAME_MAX]);

/**
 * msg_failed() - lay out an ERROR for a client, whatever became of its message
 * @buf:	[capacity] bytes
 * @reply:	the client's stage
 *
 * Return: bytes of the payload, or -EMSGSIZE.
 */
ssize_t msg_failed(void *buf, size_t capacity, const char *reply, const struct msg_failure *f);

/**
 * msg_failure_text() - the data of an ERROR: name, NUL, line, cut off where MSG_MAX_TEXT ends
 * @text:	out
 * Return: its bytes.
 */
size_t msg_failure_text(const struct msg_failure *f, char text[MSG_MAX_TEXT]);

/**
 * msg_type() - what the data of a message is, in the words of sluice/tensor.h
 *
 * So that what a stage declares is held against the pipeline's own messages, too:
 *
 *	REQUEST		text		TOKEN		tokens:i32[n]
 *	PREFILL		embedding:f32[n,n_embd]	STEP		embedding:f32[1,n_embd]
 *	HIDDEN		hidden:f32[1,n_embd]	KV		kv:u8[bytes]
 *
 * Return: true; false for kinds that carry no data of their own, which every stage takes.
 */
bool msg_type(const struct msg_head *h, struct sluice_tensor *type);

/** msg_reply_ids_offset() - where the ids of a reply begin; with n_ids of 0, its size */
size_t msg_reply_ids_offset(uint32_t text_bytes);

/** msg_read_reply() - check a TEXT, END or ERROR that a client received: 0 or -EBADMSG */
int msg_read_reply(const struct sluice_msg *m, struct msg_reply *r, const char **text,
		   const int32_t **ids);

#endif /* SLUICE_MESSAGE_H */
