// SPDX-License-Identifier: MIT
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "mux.h"

/**
 * mux_init() - Prepare a multiplexer without streams.
 * @mux: memory of the caller
 * @chan: non-blocking descriptor of the channel; stays the caller's
 * @host: this is the host's end
 */
void mux_init(struct mux *mux, int chan, bool host)
{
	memset(mux, 0, sizeof(*mux));
	mux->chan = chan;
	mux->host = host;
	mux->line = MUX_LINE;
	for (int i = 0; i < MUX_STREAMS; i++)
		mux->stream[i].fd = -1;
}

/**
 * mux_source() - Send what can be read from a descriptor as a stream.
 * @mux: multiplexer
 * @nr: number of the stream
 * @fd: descriptor, closed at its end; -1 ends the stream at once
 */
void mux_source(struct mux *mux, int nr, int fd)
{
	mux->stream[nr].fd = fd;
	mux->stream[nr].sink = false;
	mux->stream[nr].credit = MUX_WINDOW;
	if (fd < 0)
		mux_send(mux, MUX_EOF, nr, NULL, 0);
}

/**
 * mux_sink() - Write what arrives on a stream to a descriptor.
 * @mux: multiplexer
 * @nr: number of the stream
 * @fd: descriptor, closed when the stream ends; -1 tells the source to stop
 */
void mux_sink(struct mux *mux, int nr, int fd)
{
	mux->stream[nr].fd = fd;
	mux->stream[nr].sink = true;
	if (fd < 0)
		mux_send(mux, MUX_CLOSE, nr, NULL, 0);
}

/**
 * mux_u32() - Read the number of a frame that carries one.
 * @data: payload of the frame, unaligned
 * Return: the number.
 */
uint32_t mux_u32(const char *data)
{
	uint32_t value;

	memcpy(&value, data, sizeof(value));
	return value;
}

static size_t out_room(struct mux *mux)
{
	if (mux->out_head == mux->out_tail)
		mux->out_head = mux->out_tail = 0;
	if (mux->out_head > MUX_OUT / 2) {
		memmove(mux->out, mux->out + mux->out_head, mux->out_tail - mux->out_head);
		mux->out_tail -= mux->out_head;
		mux->out_head = 0;
	}
	return MUX_OUT - mux->out_tail;
}

/**
 * mux_send() - Queue one frame.
 * @mux: multiplexer
 * @type: enum mux_type
 * @nr: number of the stream, 0 where it means nothing
 * @data: payload, copied
 * @len: its length, at most MUX_PAYLOAD
 * Return: 0, -EAGAIN when the queue is full, -EMSGSIZE, -EPIPE when the channel is gone.
 */
int mux_send(struct mux *mux, uint8_t type, uint8_t nr, const void *data, size_t len)
{
	struct mux_frame frame = { .type = type, .stream = nr, .len = len };

	if (len > MUX_PAYLOAD)
		return -EMSGSIZE;
	if (mux->dead)
		return -EPIPE;
	if (out_room(mux) < sizeof(frame) + len)
		return -EAGAIN;
	memcpy(mux->out + mux->out_tail, &frame, sizeof(frame));
	if (len)
		memcpy(mux->out + mux->out_tail + sizeof(frame), data, len);
	mux->out_tail += sizeof(frame) + len;
	return 0;
}

/**
 * mux_send_u32() - Queue a frame that carries one number.
 * @mux: multiplexer
 * @type: enum mux_type
 * @nr: number of the stream, 0 where it means nothing
 * @value: the number
 * Return: as mux_send().
 */
int mux_send_u32(struct mux *mux, uint8_t type, uint8_t nr, uint32_t value)
{
	return mux_send(mux, type, nr, &value, sizeof(value));
}

static void source_end(struct mux *mux, int nr)
{
	close(mux->stream[nr].fd);
	mux->stream[nr].fd = -1;
	mux_send(mux, MUX_EOF, nr, NULL, 0);
}

static void source_read(struct mux *mux, int nr)
{
	struct mux_stream *stream = &mux->stream[nr];
	char buf[MUX_PAYLOAD];
	size_t want = stream->credit < sizeof(buf) ? stream->credit : sizeof(buf);
	ssize_t len = read(stream->fd, buf, want);

	if (len < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (len <= 0) {		/* a terminal's other side is gone: EIO */
		source_end(mux, nr);
		return;
	}
	stream->credit -= len;
	stream->sent += len;
	mux_send(mux, MUX_DATA, nr, buf, len);
}

static void sink_end(struct mux *mux, int nr)
{
	struct mux_stream *stream = &mux->stream[nr];

	close(stream->fd);
	stream->fd = -1;
	stream->head = stream->tail = 0;
	if (!stream->eof)
		mux_send(mux, MUX_CLOSE, nr, NULL, 0);
}

static void sink_write(struct mux *mux, int nr)
{
	struct mux_stream *stream = &mux->stream[nr];
	size_t want = stream->tail - stream->head;
	ssize_t len;

	if (want > MUX_PAYLOAD)		/* a ready pipe takes so much without waiting */
		want = MUX_PAYLOAD;
	len = write(stream->fd, stream->buf + stream->head, want);
	if (len < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (len < 0) {
		sink_end(mux, nr);
		return;
	}
	stream->head += len;
	stream->owed += len;
	if (!mux_send_u32(mux, MUX_ACK, nr, stream->owed))
		stream->owed = 0;
	if (stream->head == stream->tail)
		stream->head = stream->tail = 0;
	if (stream->eof && stream->head == stream->tail)
		sink_end(mux, nr);
}

static void sink_data(struct mux *mux, int nr, const char *data, size_t len)
{
	struct mux_stream *stream = &mux->stream[nr];

	if (stream->fd < 0)
		return;
	if (stream->tail + len > MUX_WINDOW) {
		memmove(stream->buf, stream->buf + stream->head, stream->tail - stream->head);
		stream->tail -= stream->head;
		stream->head = 0;
	}
	if (stream->tail + len > MUX_WINDOW) {	/* the other end ignores the window */
		mux->dead = true;
		return;
	}
	memcpy(stream->buf + stream->tail, data, len);
	stream->tail += len;
}

static void dispatch(struct mux *mux, const struct mux_frame *frame, const char *data)
{
	struct mux_stream *stream = &mux->stream[frame->stream % MUX_STREAMS];
	int nr = frame->stream % MUX_STREAMS;

	switch (frame->type) {
	case MUX_DATA:
		sink_data(mux, nr, data, frame->len);
		break;
	case MUX_EOF:
		stream->eof = true;
		if (stream->fd >= 0 && stream->head == stream->tail)
			sink_end(mux, nr);
		break;
	case MUX_ACK:
		if (frame->len == sizeof(uint32_t))
			stream->credit += mux_u32(data);
		break;
	case MUX_CLOSE:
		if (stream->fd >= 0 && !stream->sink)
			source_end(mux, nr);
		break;
	case MUX_TAKEN:
		if (frame->len == sizeof(uint32_t))
			mux->line += mux_u32(data);
		break;
	default:
		mux->control(mux, frame, data);
	}
}

static void chan_read(struct mux *mux)
{
	ssize_t len = read(mux->chan, mux->in + mux->in_len, sizeof(mux->in) - mux->in_len);
	size_t used = 0;

	if (len < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (len <= 0) {
		mux->dead = true;
		return;
	}
	mux->in_len += len;
	mux->taken += len;
	if (!mux->host && !mux_send_u32(mux, MUX_TAKEN, 0, mux->taken))
		mux->taken = 0;
	while (mux->in_len - used >= sizeof(struct mux_frame)) {
		struct mux_frame frame;

		memcpy(&frame, mux->in + used, sizeof(frame));
		if (!frame.type || frame.type > MUX_TAKEN || frame.len > MUX_PAYLOAD) {
			mux->dead = true;
			return;
		}
		if (mux->in_len - used < sizeof(frame) + frame.len)
			break;
		dispatch(mux, &frame, mux->in + used + sizeof(frame));
		used += sizeof(frame) + frame.len;
	}
	memmove(mux->in, mux->in + used, mux->in_len - used);
	mux->in_len -= used;
}

static void chan_write(struct mux *mux)
{
	size_t want = mux->out_tail - mux->out_head;
	ssize_t len;

	if (mux->host && want > mux->line)
		want = mux->line;
	len = write(mux->chan, mux->out + mux->out_head, want);
	if (len > 0) {
		mux->out_head += len;
		mux->line -= mux->host ? len : 0;
	} else if (len < 0 && errno != EINTR && errno != EAGAIN) {
		mux->dead = true;
	}
}

static short stream_events(struct mux *mux, const struct mux_stream *stream)
{
	if (stream->sink)
		return stream->head != stream->tail ? POLLOUT : 0;
	/* Half of the queue is kept for control frames and acknowledgements. */
	return stream->credit && out_room(mux) > MUX_OUT / 2 ? POLLIN : 0;
}

/**
 * mux_poll() - Wait once and move what can be moved.
 * @mux: multiplexer
 * @extra_fd: another descriptor to wait for, -1 for none
 * @timeout_ms: as for poll(2)
 * Return: 1 if @extra_fd can be read, else 0; sets @mux->dead when the channel ends.
 */
int mux_poll(struct mux *mux, int extra_fd, int timeout_ms)
{
	struct pollfd pfd[MUX_STREAMS + 2];

	for (int i = 0; i < MUX_STREAMS; i++) {
		struct mux_stream *stream = &mux->stream[i];
		short events = stream->fd < 0 ? 0 : stream_events(mux, stream);

		pfd[i] = (struct pollfd){ .fd = events ? stream->fd : -1, .events = events };
	}
	pfd[MUX_STREAMS] = (struct pollfd){ .fd = mux->dead ? -1 : mux->chan, .events = POLLIN };
	if (mux->out_head != mux->out_tail && (!mux->host || mux->line))
		pfd[MUX_STREAMS].events |= POLLOUT;
	pfd[MUX_STREAMS + 1] = (struct pollfd){ .fd = extra_fd, .events = POLLIN };

	if (poll(pfd, MUX_STREAMS + 2, timeout_ms) <= 0)
		return 0;
	for (int i = 0; i < MUX_STREAMS; i++) {
		if (!pfd[i].revents)
			continue;
		if (mux->stream[i].sink)
			sink_write(mux, i);
		else
			source_read(mux, i);
	}
	if (pfd[MUX_STREAMS].revents & POLLOUT)
		chan_write(mux);
	if (pfd[MUX_STREAMS].revents & (POLLIN | POLLHUP | POLLERR))
		chan_read(mux);
	return !!(pfd[MUX_STREAMS + 1].revents);
}

/**
 * mux_flushed() - Tell whether every queued frame has left.
 * @mux: multiplexer
 * Return: true if nothing is left to send, or nobody to send it to.
 */
bool mux_flushed(const struct mux *mux)
{
	return mux->dead || mux->out_head == mux->out_tail;
}

/**
 * mux_sinks_flushed() - Tell whether all that has arrived was written.
 * @mux: multiplexer
 * Return: true if no sink holds bytes.
 */
bool mux_sinks_flushed(const struct mux *mux)
{
	for (int i = 0; i < MUX_STREAMS; i++)
		if (mux->stream[i].fd >= 0 && mux->stream[i].head != mux->stream[i].tail)
			return false;
	return true;
}
