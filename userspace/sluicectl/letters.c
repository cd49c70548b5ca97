// SPDX-License-Identifier: MIT
/* letters.c - what nobody else can answer, answered */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include <sluice/peek.h>

#include "../stages/board.h"
#include "../stages/message.h"
#include "letters.h"
#include "sluicectl.h"

#define LOOKS_MAX	64	/* messages in one go, so that signals and deaths get their turn */

struct letters;

/* A dead-letter stage that is looked at, or a stage that is stood in for. */
struct post {
	struct letters			*letters;
	const struct pipeline_stage	*stage;
	struct sluice_ep		*ep;		/* NULL: not now */
	sd_event_source			*source;
	uint64_t			next;		/* dead letters: the first ticket not seen */
	int				error;		/* standing in: what is answered */
	char				why[160];
	uint64_t			retry_at;
};

struct letters {
	const struct pipeline	*pipeline;
	const char		*role[PIPELINE_ROLES];	/* names of rings by enum msg_stage */
	sd_event		*event;
	struct sluice_ctx	*ctx;
	struct post		*dead;			/* one for each stage of the pipeline */
	struct post		*stand_in;
};

/* ------------------------------------------------------------------ telling --- */

static enum msg_stage role_of(const struct letters *l, const char *stage)
{
	for (int i = 0; i < PIPELINE_ROLES; i++)
		if (l->role[i] && !strcmp(l->role[i], stage))
			return (enum msg_stage)i;
	return MSG_CLIENT;
}

static bool served(const char *stage)
{
	struct sluice_info info = { 0 };

	return stage && !sluice_info(stage, &info) && info.health != SLUICE_NO_CONSUMER &&
	       info.consumers;
}

/* One payload as a message of its own; nobody waits for room here. */
static int post_to(struct letters *l, const char *stage, struct sluice_msg *m, const void *payload)
{
	struct sluice_ep *ep;
	struct sluice_buffer buf;
	int err = sluice_attach(l->ctx, stage, SLUICE_PRODUCER, 0, &ep);

	if (err)
		return err;
	m->buffer = SLUICE_NO_BUFFER;
	if (m->len) {
		err = m->len > sluice_buffer_size(ep) ? -EMSGSIZE :
		      sluice_buffer_take(ep, &buf, SLUICE_NOW);
		if (!err) {
			memcpy(buf.data, payload, m->len);
			m->buffer = buf.index;
		}
	}
	if (!err)
		err = sluice_post(ep, m);
	sluice_detach(ep);
	return err < 0 ? err : 0;
}

/* To the client's own stage; the first stage learns that the stream is over. */
static int tell_directly(struct letters *l, const struct sluice_msg *about, const char *reply,
			 const struct msg_failure *f)
{
	struct sluice_msg m = {
		.stream = about->stream, .counter = about->counter, .kind = MSG_ERROR,
		.flags = SLUICE_MSG_LAST,
	};
	struct sluice_msg over = {
		.stream = about->stream, .kind = MSG_FREE, .flags = SLUICE_MSG_LAST,
	};
	struct {
		struct msg_reply head;
		char text[MSG_MAX_TEXT + 4];
	} payload = { .head = {
		.magic = MSG_MAGIC, .version = MSG_VERSION, .kind = MSG_ERROR, .token = -1,
		.error = (uint32_t)f->error, .stage = f->stage, .attempt = f->attempt,
	} };

	payload.head.text_bytes = (uint32_t)msg_failure_text(f, payload.text);
	m.len = payload.head.size = (uint32_t)msg_reply_ids_offset(payload.head.text_bytes);
	if (l->role[MSG_EMBEDDING] && f->stage != MSG_EMBEDDING)
		post_to(l, l->role[MSG_EMBEDDING], &over, NULL);
	return post_to(l, reply, &m, &payload);
}

static int tell_output(struct letters *l, const struct sluice_msg *about, const char *reply,
		       const struct msg_failure *f)
{
	struct sluice_msg m = {
		.stream = about->stream, .counter = about->counter, .kind = MSG_ERROR,
	};
	char payload[2048];
	ssize_t len = msg_failed(payload, sizeof(payload), reply, f);

	if (len < 0)
		return (int)len;
	m.len = (uint32_t)len;
	return post_to(l, l->role[MSG_OUTPUT], &m, payload);
}

static void tell(struct letters *l, const struct sluice_msg *about, const char *reply,
		 const struct msg_failure *f)
{
	if (served(l->role[MSG_OUTPUT]) && !tell_output(l, about, reply, f))
		return;
	/* -ENOENT: the client is gone, too. */
	tell_directly(l, about, reply, f);
}

/* -------------------------------------------------------------- dead letters --- */

static void describe(const struct sluice_dead_letter *letter, const char *stage, char text[512])
{
	const char *kind = msg_kind_name(letter->kind);
	const char *what = letter->reason == EOWNERDEAD ? "whoever took it died" :
			   letter->reason == ETIMEDOUT ? "it was not done within ack_timeout" :
			   strerror((int)letter->reason);

	snprintf(text, 512, "gave up on a %s message after %u attempts: %s; 'sluicectl dead show "
		 "%s' has it", kind, letter->attempts, what, stage);
}

static void on_letter(struct post *post, const struct sluice_msg *m)
{
	struct msg_failure f = { .name = post->stage->create.name };
	struct sluice_dead_letter letter;
	char reply[SLUICE_NAME_MAX], text[512];
	size_t copied = 0;

	if (m->len < sizeof(letter))
		return;
	memcpy(&letter, m->data, sizeof(letter));
	copied = m->len - sizeof(letter);
	fprintf(stderr, "%s - - dead letter %llu: stream %016llx, %u attempts, %s\n", f.name,
		(unsigned long long)letter.ticket, (unsigned long long)m->stream, letter.attempts,
		strerror((int)letter.reason));
	if (msg_address((const char *)m->data + sizeof(letter), copied, reply))
		return;
	describe(&letter, f.name, text);
	f.stage = role_of(post->letters, f.name);
	f.attempt = letter.attempts < SLUICE_MAX_ATTEMPTS ? letter.attempts : SLUICE_MAX_ATTEMPTS;
	f.error = letter.reason && letter.reason < 4096 ? (int)letter.reason : EIO;
	f.text = text;
	tell(post->letters, m, reply, &f);
}

static void leave(struct post *post)
{
	post->source = sd_event_source_disable_unref(post->source);
	sluice_detach(post->ep);
	post->ep = NULL;
}

static int enter(struct post *post, const char *name, sd_event_io_handler_t handler);

/*
 * Destroyed, or put out by `sluicectl repair`, after which our mappings are no longer there to look
 * at. Who was put out attaches anew, if there is something to attach to.
 */
static bool put_out(struct post *post, uint32_t events, sd_event_io_handler_t handler)
{
	char name[SLUICE_NAME_MAX];

	if (!(events & (EPOLLERR | EPOLLHUP)))
		return false;
	memcpy(name, sluice_stage_name(post->ep), sizeof(name));
	leave(post);
	enter(post, name, handler);
	return true;
}

static int on_dead(sd_event_source *source, int fd, uint32_t events, void *data)
{
	/* Of the original only its head is wanted, which says where the client is. */
	static char copy[sizeof(struct sluice_dead_letter) + sizeof(struct msg_head)];
	struct post *post = data;
	struct sluice_msg m;
	int err, looks = 0;

	if (put_out(post, events, on_dead))
		return 0;
	do {
		while (!(err = sluice_peek(post->ep, &m, copy, sizeof(copy)))) {
			if (m.len > sizeof(copy))
				m.len = sizeof(copy);
			if (m.ticket >= post->next) {
				post->next = m.ticket + 1;
				on_letter(post, &m);
			}
		}
		err = err == -EAGAIN ? sluice_poll_arm(post->ep) : err;
	} while (err > 0 && ++looks < LOOKS_MAX);
	if (err < 0)
		leave(post);
	return 0;
}

/* ------------------------------------------------------------- standing in --- */

static void answer(struct post *post, struct sluice_msg *m)
{
	struct msg_failure f = {
		.name = post->stage->create.name, .attempt = m->attempt, .error = post->error,
	};
	uint64_t now = board_now();
	char reply[SLUICE_NAME_MAX], text[256];

	if (m->kind == MSG_FREE && !m->len) {	/* whose state it frees is gone anyway */
		sluice_ack(post->ep, m);
		return;
	}
	if (msg_address(m->data, m->len, reply)) {
		sluice_nack(post->ep, m, post->error, 0, SLUICE_NACK_DEAD);
		return;
	}
	snprintf(text, sizeof(text), "%s", post->why);
	if (post->retry_at > now)
		snprintf(text, sizeof(text), "%s: try again in %.1f s", post->why,
			 (double)(post->retry_at - now) / 1e9);
	f.stage = role_of(post->letters, f.name);
	f.text = text;
	tell(post->letters, m, reply, &f);
	sluice_ack(post->ep, m);
}

static int on_unserved(sd_event_source *source, int fd, uint32_t events, void *data)
{
	struct post *post = data;
	struct sluice_msg m;
	int err, looks = 0;

	if (put_out(post, events, on_unserved))
		return 0;
	do {
		while (looks < LOOKS_MAX && !(err = sluice_claim(post->ep, &m, SLUICE_NOW))) {
			answer(post, &m);
			looks++;
		}
		if (looks >= LOOKS_MAX)
			return 0;	/* the descriptor stays ready */
		err = err == -EAGAIN ? sluice_poll_arm(post->ep) : err;
	} while (err > 0);
	if (err < 0)
		leave(post);
	return 0;
}

static int enter(struct post *post, const char *name, sd_event_io_handler_t handler)
{
	struct letters *l = post->letters;
	int err = sluice_attach(l->ctx, name, SLUICE_CONSUMER, 0, &post->ep);

	if (err) {
		post->ep = NULL;
		return err;
	}
	err = sd_event_add_io(l->event, &post->source, sluice_fd(post->ep), EPOLLIN, handler, post);
	if (err < 0) {
		leave(post);
		return err;
	}
	handler(NULL, sluice_fd(post->ep), 0, post);
	return 0;
}

void letters_stand_in(struct letters *l, const struct pipeline_stage *stage, int error,
		      const char *why, uint64_t retry_at)
{
	struct post *post;

	if (!l)
		return;
	post = &l->stand_in[stage - l->pipeline->stages];
	post->error = error;
	post->retry_at = retry_at;
	snprintf(post->why, sizeof(post->why), "%s", why);
	if (!post->ep && enter(post, stage->create.name, on_unserved))
		ctl_error("stage '%s': its messages are not answered: %s", stage->create.name,
			  sluice_error());
}

void letters_stand_down(struct letters *l, const struct pipeline_stage *stage)
{
	if (l && l->stand_in[stage - l->pipeline->stages].ep)
		leave(&l->stand_in[stage - l->pipeline->stages]);
}

/* ------------------------------------------------------------ begin and end --- */

static void find_roles(struct letters *l)
{
	for (int i = 0; i < PIPELINE_ROLES; i++) {
		const char *name = l->pipeline->client[i] ?: pipeline_roles[i];

		for (size_t s = 0; s < l->pipeline->nstages; s++)
			if (!strcmp(l->pipeline->stages[s].create.name, name))
				l->role[i] = name;
	}
}

static void watch(struct letters *l)
{
	for (size_t i = 0; i < l->pipeline->nstages; i++) {
		const struct pipeline_stage *stage = &l->pipeline->stages[i];
		char name[SLUICE_NAME_MAX + 8];

		l->dead[i] = (struct post){ .letters = l, .stage = stage };
		l->stand_in[i] = (struct post){ .letters = l, .stage = stage };
		if (!stage->create.dead_slots)
			continue;
		snprintf(name, sizeof(name), "%s.dead", stage->create.name);
		if (enter(&l->dead[i], name, on_dead))
			ctl_error("nobody is told of dead letters of stage '%s': %s",
				  stage->create.name, sluice_error());
	}
}

int letters_create(const struct pipeline *p, sd_event *event, struct letters **out)
{
	struct letters *l = calloc(1, sizeof(*l));
	int err;

	*out = NULL;
	if (!l)
		return -ENOMEM;
	l->pipeline = p;
	l->event = event;
	find_roles(l);
	if (!l->role[MSG_OUTPUT]) {
		free(l);
		return 0;
	}
	l->dead = calloc(p->nstages, sizeof(*l->dead));
	l->stand_in = calloc(p->nstages, sizeof(*l->stand_in));
	err = l->dead && l->stand_in ?
	      sluice_ctx_create(SLUICE_CTX_NO_URING | SLUICE_CTX_NO_SPIN, &l->ctx) : -ENOMEM;
	if (err) {
		letters_free(l);
		return err;
	}
	watch(l);
	*out = l;
	return 0;
}

void letters_free(struct letters *l)
{
	if (!l)
		return;
	for (size_t i = 0; l->ctx && i < l->pipeline->nstages; i++) {
		leave(&l->dead[i]);
		leave(&l->stand_in[i]);
	}
	sluice_ctx_destroy(l->ctx);
	free(l->dead);
	free(l->stand_in);
	free(l);
}
