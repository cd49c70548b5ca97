// SPDX-License-Identifier: MIT
/*
 * Description: whatever comes to a reply stage ends the call that it names, or none
 *
 * Messages, each after a byte of options and a byte of length: 0x80, the envelope's magic and
 * version are put right; 0x40, so is the number of a call; 0x20, the length is a buffer's. Of a
 * window of four calls all are under way at first, and the input ends when none is. What should
 * become of each message is worked out apart.
 */
#include "ring.h"
#include "call.h"

#define WINDOW	4u
#define LONGEST	4096u

static struct ring ring;
static struct call calls[WINDOW];
static struct sluice_caller caller;
static uint64_t board[WINDOW];
static bool live[WINDOW];

static void begin(void)
{
	ring_make(&ring, 1000);
	memset(calls, 0, sizeof(calls));
	memset(&caller, 0, sizeof(caller));
	caller.ctx = &ring.ctx;
	caller.in = &ring.in[0];
	caller.window = WINDOW;
	caller.calls = calls;
	caller.board.data = board;
	caller.pending = WINDOW;
	TAILQ_INIT(&caller.free);
	TAILQ_INIT(&caller.over);
	for (unsigned int i = 0; i < WINDOW; i++) {
		calls[i].id = board[i] = call_id(100 + i, i);
		calls[i].state = CALL_LIVE;
		calls[i].expires = DEADLINE_NEVER;
		live[i] = true;
	}
}

static void put_right(char *payload, size_t len, uint8_t options)
{
	struct reply_envelope e;

	if (len < sizeof(e))
		return;
	memcpy(&e, payload, sizeof(e));
	if (options & 0x80) {
		e.magic = ENVELOPE_REPLY;
		e.version = ENVELOPE_VERSION;
	}
	if (options & 0x40)
		e.call = call_id(100 + (options & 3), options & 3);
	memcpy(payload, &e, sizeof(e));
}

/* Which call it ends, WINDOW: none; by the bytes. */
static unsigned int ends(const unsigned char *p, size_t len)
{
	static const unsigned char magic[] = { 0x94, 'S', 'L', 'R', 1, 0 };
	unsigned int error, i;

	if (len < 16 || memcmp(p, magic, sizeof(magic)))
		return WINDOW;
	error = p[6] | (unsigned int)p[7] << 8;
	if (error > 4095 || (error && len > 16 + 200))
		return WINDOW;
	for (i = 0; i < WINDOW; i++)
		if (p[8] == i && !p[9] && p[10] == 100 + i && !p[11] && !memcmp(p + 12, "\0\0\0", 4))
			break;
	return i < WINDOW && live[i] ? i : WINDOW;
}

static void check_over(unsigned int which, const unsigned char *p, size_t len)
{
	uint64_t late = caller.count.late + caller.count.malformed;
	struct sluice_reply reply;
	int ret = sluice_call_wait(&caller, SLUICE_CALL_ANY, &reply, SLUICE_NOW);

	if (which == WINDOW) {
		fuzz_check(ret == -EAGAIN);
		fuzz_check(caller.count.late + caller.count.malformed == late + 1);
		return;
	}
	fuzz_check(reply.id == call_id(100 + which, which));
	fuzz_check(ret == -(p[6] | p[7] << 8));
	fuzz_check(board[which] == 0);
	live[which] = false;
	if (!ret) {
		fuzz_check(reply.len == len - 16 && !memcmp(reply.data, p + 16, reply.len));
		sluice_reply_release(&caller, &reply);
	} else {
		fuzz_check(!strchr(sluice_error(), '\n') && strlen(sluice_error()) < 512);
	}
}

static void check_request(const void *payload, size_t len)
{
	struct sluice_msg m = { .data = payload, .len = (uint32_t)len };
	struct request_envelope e;

	if (request_read(&m, &e))
		return;
	fuzz_check(len >= SLUICE_CALL_HEADER && !memcmp(payload, "\x94SLQ\1\0\0\0", 8));
	fuzz_check(e.caller && e.call);
}

static bool one_message(struct fuzz_input *in)
{
	uint8_t options = (uint8_t)fuzz_take(in, 1);
	size_t len = fuzz_take(in, 1);
	struct sluice_msg m = { .buffer = SLUICE_NO_BUFFER };
	char *payload;
	unsigned int which;

	if (options & 0x20)
		len = len * 16 < LONGEST ? len * 16 : LONGEST;
	payload = calloc(1, len + !len);
	fuzz_check(payload);
	memcpy(payload, in->data, len < in->left ? len : in->left);
	in->data += len < in->left ? len : in->left;
	in->left -= len < in->left ? len : in->left;
	check_request(payload, len);
	put_right(payload, len, options);
	m.data = payload;
	m.len = (uint32_t)len;
	fuzz_check(!sluice_send(&ring.out[0], &m, SLUICE_NOW));
	which = ends((unsigned char *)payload, len);
	check_over(which, (unsigned char *)payload, len);
	free(payload);
	return in->left;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };

	begin();
	while (caller.pending && in.left && one_message(&in))
		;
	return 0;
}
