// SPDX-License-Identifier: MIT
/*
 * boost.cc: Boost.Interprocess, message_queue; payloads in a managed_shared_memory
 */
#include <cstdio>
#include <memory>
#include <new>
#include <string>

#include <boost/interprocess/ipc/message_queue.hpp>
#include <boost/interprocess/managed_shared_memory.hpp>

#include "program.h"

namespace ipc = boost::interprocess;

/* Of payloads: one is written while the other side is about to give one back. */
static constexpr size_t blocks = 4;

/* What travels in the place of a payload. */
struct handle {
	ipc::managed_shared_memory::handle_t where;
	uint64_t size;
};

/*
 * A queue each way, twice: a message of a queue takes as much room as its longest could, and
 * handles that lie a payload apart would each be a page that was never touched before.
 */
struct channel {
	std::unique_ptr<ipc::message_queue> in, out;
	std::string names[2];		/* of the queue that each side reads, ping's first */
	size_t room;			/* of a message */
	void *in_buffer, *out_buffer;
};

static struct {
	channel messages, handles;
	std::unique_ptr<ipc::managed_shared_memory> segment;
	std::string segment_name;
	void *lent, *borrowed;
} b;

extern const struct program_peer boost_peer;

static void remove_names(struct program *p)
{
	for (const channel *c : { &b.messages, &b.handles })
		for (const std::string &name : c->names)
			ipc::message_queue::remove(name.c_str());
	ipc::shared_memory_object::remove(b.segment_name.c_str());
}

static std::unique_ptr<ipc::message_queue> queue(struct program *p, const channel &c, bool of_ping)
{
	const char *name = c.names[!of_ping].c_str();

	if (p->ping)
		return std::make_unique<ipc::message_queue>(ipc::open_only, name);
	return std::make_unique<ipc::message_queue>(ipc::create_only, name, p->slots, c.room);
}

static void channel_open(struct program *p, channel &c, const std::string &name, size_t room)
{
	c.names[0] = name + "-ping";
	c.names[1] = name + "-pong";
	c.room = room;
	c.in = queue(p, c, p->ping);
	c.out = queue(p, c, !p->ping);
	c.in_buffer = program_buffer(room);
	c.out_buffer = program_buffer(room);
}

static void boost_open(struct program *p)
{
	const std::string base = std::string("sluice-perf-") + p->unique;

	channel_open(p, b.messages, base, p->size);
	channel_open(p, b.handles, base + "-handles", sizeof(handle));
	b.segment_name = base + "-payloads";
	if (p->ping)
		b.segment = std::make_unique<ipc::managed_shared_memory>(ipc::open_only,
									 b.segment_name.c_str());
	else
		b.segment = std::make_unique<ipc::managed_shared_memory>(ipc::create_only,
									 b.segment_name.c_str(),
									 blocks * p->size + 65536);
}

static void boost_close(struct program *p)
{
	if (!p->ping)
		remove_names(p);
}

program_inline void queue_send(struct program *p, channel &c, const void *data, size_t size)
{
	if (!p->spin)
		c.out->send(data, size, 0);
	else
		while (!c.out->try_send(data, size, 0))
			;
}

program_inline size_t queue_receive(struct program *p, channel &c)
{
	ipc::message_queue::size_type size;
	unsigned int priority;

	if (!p->spin)
		c.in->receive(c.in_buffer, c.room, size, priority);
	else
		while (!c.in->try_receive(c.in_buffer, c.room, size, priority))
			;
	return size;
}

static void *boost_begin(struct program *p, size_t size)
{
	return b.messages.out_buffer;
}

static void boost_send(struct program *p, size_t size)
{
	queue_send(p, b.messages, b.messages.out_buffer, size);
}

static const void *boost_receive(struct program *p, size_t *size)
{
	*size = queue_receive(p, b.messages);
	return b.messages.in_buffer;
}

static void boost_release(struct program *p)
{
}

/* A payload is made in the shared memory and stays there; who receives it gives its memory back. */
static void *boost_lend(struct program *p, size_t size)
{
	b.lent = b.segment->allocate(size);
	return b.lent;
}

static void boost_send_lent(struct program *p, size_t size)
{
	const handle h = { b.segment->get_handle_from_address(b.lent), size };

	queue_send(p, b.handles, &h, sizeof(h));
}

static const void *boost_borrow(struct program *p, size_t *size)
{
	handle h = {};

	if (queue_receive(p, b.handles) != sizeof(h))
		program_fail("what came is no handle");
	memcpy(&h, b.handles.in_buffer, sizeof(h));
	*size = h.size;
	b.borrowed = b.segment->get_address_from_handle(h.where);
	return b.borrowed;
}

static void boost_give_back(struct program *p)
{
	b.segment->deallocate(b.borrowed);
}

static void *answer_begin(struct program *p, size_t size)
{
	return b.handles.out_buffer;
}

static void answer_send(struct program *p, size_t size)
{
	queue_send(p, b.handles, b.handles.out_buffer, size);
}

static const void *answer_receive(struct program *p, size_t *size)
{
	*size = queue_receive(p, b.handles);
	return b.handles.in_buffer;
}

static const struct program_way way = {
	.begin = boost_begin,
	.send = boost_send,
	.receive = boost_receive,
	.release = boost_release,
};

static const struct program_way lend = {
	.begin = boost_lend,
	.send = boost_send_lent,
	.receive = boost_borrow,
	.release = boost_give_back,
};

static const struct program_way answers = {
	.begin = answer_begin,
	.send = answer_send,
	.receive = answer_receive,
	.release = boost_release,
};

PROGRAM_WORKS(boost_peer, way, lend, answers)

const struct program_peer boost_peer = {
	.name = "boost",
	.prepare = nullptr,
	.open = boost_open,
	.joined = remove_names,
	.flush = nullptr,
	.close = boost_close,
	.way = &way,
	.round = boost_peer_round,
	.flow = boost_peer_flow,
	.payload = boost_peer_payload,
};

int main(int argc, char **argv)
{
	try {
		return program_main(argc, argv, &boost_peer);
	} catch (const std::exception &e) {
		program_fail("%s", e.what());
	}
}
