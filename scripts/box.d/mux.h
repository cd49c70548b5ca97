/* SPDX-License-Identifier: MIT */
/*
 * Several byte streams over one channel, for both ends of a box.
 *
 * The host end (run.c) and the guest end (init.c) speak the same frames over a UML serial line
 * or a virtio port. Each stream has a window, so that a blocked reader stops its own writer and
 * nobody else: a signal still gets through while 1 MB of standard input waits.
 */
#ifndef SLUICE_BOX_MUX_H
#define SLUICE_BOX_MUX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MUX_STREAMS	3		/* standard input, output, error */
#define MUX_WINDOW	65536u		/* bytes of one stream on their way */
#define MUX_PAYLOAD	4096u		/* most bytes in one frame; also what a ready pipe takes */
#define MUX_OUT		(8 * MUX_WINDOW)
/*
 * Most bytes from host to guest that the guest has not read. A UML serial line whose buffer of
 * 4096 bytes fills up stops for good (line_throttle() removes the descriptor from epoll and
 * nothing adds it again), so it must never fill up.
 */
#define MUX_LINE	3072u

enum mux_type {
	MUX_DATA = 1,	/* stream bytes */
	MUX_EOF,	/* the source of the stream has ended */
	MUX_ACK,	/* u32: bytes of the stream that reached their reader */
	MUX_CLOSE,	/* the reader of the stream is gone: stop sending */
	MUX_HELLO,	/* guest: init runs and waits for its orders */
	MUX_SPEC,	/* host: a part of the orders, see init.c */
	MUX_GO,		/* host: the orders are complete */
	MUX_STARTED,	/* guest: the command runs */
	MUX_SIGNAL,	/* host: u32, signal for the command's process group */
	MUX_WINSIZE,	/* host: u32, rows << 16 | columns */
	MUX_EXIT,	/* guest: u32, exit status of the command */
	MUX_FAIL,	/* guest: text, why the command could not be started */
	MUX_TAKEN,	/* guest: u32, bytes read from the channel, see MUX_LINE */
};

struct mux_frame {
	uint8_t type;		/* enum mux_type */
	uint8_t stream;
	uint16_t len;		/* bytes that follow */
};

/* One direction of one stream: a source reads a descriptor, a sink writes it. */
struct mux_stream {
	int fd;			/* -1: none, or ended */
	bool sink;
	uint32_t credit;	/* source: bytes that may still be sent */
	uint64_t sent;		/* source: bytes sent so far */
	bool eof;		/* sink: the other end has ended it */
	size_t head, tail;	/* sink: bytes not written yet */
	uint32_t owed;		/* sink: bytes written and not acknowledged yet */
	char buf[MUX_WINDOW];
};

struct mux {
	int chan;		/* the channel, non-blocking; owned by the caller */
	bool dead;		/* the channel has ended or broken */
	bool host;		/* this is the host's end */
	uint32_t line;		/* host: bytes that the line still takes */
	uint32_t taken;		/* guest: bytes read and not reported yet */
	struct mux_stream stream[MUX_STREAMS];
	size_t in_len, out_head, out_tail;
	char in[sizeof(struct mux_frame) + MUX_PAYLOAD];
	char out[MUX_OUT];
	/* Called for each frame that is not about a stream. */
	void (*control)(struct mux *mux, const struct mux_frame *frame, const char *data);
};

void mux_init(struct mux *mux, int chan, bool host);
void mux_source(struct mux *mux, int nr, int fd);
void mux_sink(struct mux *mux, int nr, int fd);
int mux_send(struct mux *mux, uint8_t type, uint8_t nr, const void *data, size_t len);
int mux_send_u32(struct mux *mux, uint8_t type, uint8_t nr, uint32_t value);
int mux_poll(struct mux *mux, int extra_fd, int timeout_ms);
bool mux_flushed(const struct mux *mux);
bool mux_sinks_flushed(const struct mux *mux);
uint32_t mux_u32(const char *data);

#endif
