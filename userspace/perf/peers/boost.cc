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

static struct {
	std::string names[2], segment_name;	/* of the queue that each side reads */
	std::unique_ptr<ipc::message_queue> in, out;
	std::unique_ptr<ipc::managed_shared_memory> segment;
	void *in_buffer, *out_buffer;
	void *lent, *borrowed;
} b;

extern const struct program_peer boost_peer;

static size_t message_max(const struct program *p)
{
	return p->size > sizeof(handle) ? p->size : sizeof(handle);
}

static void remove_names(struct program *p)
{
	for (const std::string &name : b.names)
		ipc::message_queue::remove(name.c_str());
	ipc::shared_memory_object::remove(b.segment_name.c_str());
}

static void open_made()
{
	b.in.reset(new ipc::message_queue(ipc::open_only, b.names[0].c_str()));
	b.out.reset(new ipc::message_queue(ipc::open_only, b.names[1].c_str()));
	b.segment.reset(new ipc::managed_shared_memory(ipc::open_only, b.segment_name.c_str()));
}

static void make(struct program *p)
{
	b.in.reset(new ipc::message_queue(ipc::create_only, b.names[1].c_str(), p->slots,
					  message_max(p)));
	b.out.reset(new ipc::message_queue(ipc::create_only, b.names[0].c_str(), p->slots,
					   message_max(p)));
	b.segment.reset(new ipc::managed_shared_memory(ipc::create_only, b.segment_name.c_str(),
						       blocks * p->size + 65536));
}

static void boost_open(struct program *p)
{
	const std::string base = std::string("sluice-perf-") + p->unique;

	b.names[0] = base + "-ping";
	b.names[1] = base + "-pong";
	b.segment_name = base + "-payloads";
	b.in_buffer = program_buffer(message_max(p));
	b.out_buffer = program_buffer(message_max(p));
	if (p->ping)
		open_made();
	else
		make(p);
}

static void boost_close(struct program *p)
{
	if (!p->ping)
		remove_names(p);
}

static void queue_send(struct program *p, const void *data, size_t size)
{
	if (!p->spin)
		b.out->send(data, size, 0);
	else
		while (!b.out->try_send(data, size, 0))
			;
}

static size_t queue_receive(struct program *p, void *data)
{
	ipc::message_queue::size_type size;
	unsigned int priority;

	if (!p->spin)
		b.in->receive(data, message_max(p), size, priority);
	else
		while (!b.in->try_receive(data, message_max(p), size, priority))
			;
	return size;
}

static void *boost_begin(struct program *p, size_t size)
{
	return b.out_buffer;
}

static void boost_send(struct program *p, size_t size)
{
	queue_send(p, b.out_buffer, size);
}

static const void *boost_receive(struct program *p, size_t *size)
{
	*size = queue_receive(p, b.in_buffer);
	return b.in_buffer;
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

	queue_send(p, &h, sizeof(h));
}

static const void *boost_borrow(struct program *p, size_t *size)
{
	handle h = {};

	if (queue_receive(p, b.in_buffer) != sizeof(h))
		program_fail("what came is no handle");
	memcpy(&h, b.in_buffer, sizeof(h));
	*size = h.size;
	b.borrowed = b.segment->get_address_from_handle(h.where);
	return b.borrowed;
}

static void boost_give_back(struct program *p)
{
	b.segment->deallocate(b.borrowed);
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

PROGRAM_WORKS(boost_peer, way, lend)

const struct program_peer boost_peer = {
	.name = "boost",
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
