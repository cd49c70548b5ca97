/* SPDX-License-Identifier: MIT */
/*
 * program.h: the protocol of peer programs, and what those in C and C++ share
 *
 * A peer program is one process of a measured pair. sluice-perf starts two of them in the same
 * kernel, each tied to one processor already (affinity is inherited, and stays as it is), and
 * talks to each through its standard input and output. Any language will do.
 *
 *   PROGRAM --side ping|pong --mode spin|sleep --size BYTES --slots N --dir DIR
 *
 *   --side   ping drives, pong answers
 *   --mode   spin: waits for a message by asking again and again, as the peer's authors offer it;
 *            sleep: waits in the kernel, at once
 *   --size   bytes of a message, 8 to 1 MiB
 *   --slots  messages that may be under way, where the peer has such a setting
 *   --dir    a fresh directory on a tmpfs, the same for both sides, for sockets and files. Its last
 *            part is unique: what has a name outside of DIR is named after it, and is removed by
 *            the program that made it, after a failure too as far as it can.
 *
 * Both sides connect, whichever is first, and wait for the other for 20 s at most (longer if pong
 * is there and has a broker to start). Then each writes a 64-bit zero: ready. From then on it reads
 * commands, one a line, and answers each when the work is done, never during it, with little-endian
 * 64-bit numbers.
 *
 *   round N    N messages there and back, one at a time. Message i (0, 1, ...) carries i in its
 *              first and its last 8 bytes. Pong sends a copy of all of what it got; ping checks
 *              both numbers of it. Ping answers with N numbers, the ns of each round trip, where
 *              the end of one is the start of the next; pong with a zero.
 *   flow N     N messages one way, as fast as they can be sent. Nothing may be lost: who finds the
 *              peer full waits or tries again. Pong checks each number, so the order too. Pong
 *              answers with the ns from the arrival of the first to that of the last, ping with the
 *              ns that sending took.
 *   payload N  N times: ping writes a message whose 8-byte words are all i + 1, right into memory
 *              of the peer's where it lends some, else into its own; pong reads one word of each
 *              line of 64 bytes, compares their sum with (i + 1) * lines, and answers with i in a
 *              message of 8 bytes, which ping checks. Answers as for round; the writing is part of
 *              the round trip.
 *
 * The end of the input means: clean up, exit with 0. Whatever fails: one line on standard error
 * that says what and why, exit status 1 (2 for a wrong command line).
 *
 * What a peer cannot do is not in its line of the list that scripts/perf/peers prints, and is never
 * asked of it. A line has five columns with tabs between them:
 *
 *   name  modes (spin,sleep)  works (round,flow,payload)  title, version and settings  command
 *
 * A peer that can acknowledge does so if its authors recommend that against losses; its title says
 * which.
 *
 * Time is that of sluice_ticks(), as for sluice itself: in a box, asking the kernel for the time
 * costs some microseconds, more than many a round trip.
 */
#ifndef SLUICE_PERF_PROGRAM_H
#define SLUICE_PERF_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <sluice/sluice.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PROGRAM_SIZE_MIN	sizeof(uint64_t)
#define PROGRAM_SIZE_MAX	(1u << 20)
#define PROGRAM_SLOTS_MAX	65536u
#define PROGRAM_WAIT_S		20	/* for the other side */
#define PROGRAM_PREPARE_S	120	/* for its broker, once it is there */
#define PROGRAM_LINE		64	/* bytes */

/**
 * struct program - this process
 * @ping:	this is the side that drives
 * @spin:	how to wait
 * @size:	bytes of a message
 * @slots:	how many may be under way
 * @dir:	for sockets and files
 * @unique:	its last part, for names elsewhere
 */
struct program {
	bool ping;
	bool spin;
	size_t size;
	unsigned int slots;
	const char *dir;
	const char *unique;
};

/**
 * struct program_way - how messages get across
 * @begin:	memory for the next message, the peer's own where it lends some
 * @send:	sends what begin() gave; waits while the peer is full
 * @receive:	waits for the next message; it is valid until release()
 * @release:	done with it
 *
 * None of them returns an error: program_fail() ends the program.
 */
struct program_way {
	void *(*begin)(struct program *p, size_t size);
	void (*send)(struct program *p, size_t size);
	const void *(*receive)(struct program *p, size_t *size);
	void (*release)(struct program *p);
};

/**
 * struct program_peer - what a program measures
 * @name:	for error messages
 * @prepare:	of pong, when both are there and before open(): what takes long, a broker say
 * @open:	of pong first, which makes what both use; when it is done, that of ping
 * @joined:	both are open: the second half of opening, and the time to remove names
 * @flush:	until all that was sent is on its way without this process (NULL: always so)
 * @close:	once, also after a failure at any point, and then perhaps before open()
 * @way:	for the first messages, which show that both can hear each other
 * @round:	the commands, from PROGRAM_WORKS(); NULL for what the peer cannot do
 */
struct program_peer {
	const char *name;
	void (*prepare)(struct program *p);
	void (*open)(struct program *p);
	void (*joined)(struct program *p);
	void (*flush)(struct program *p);
	void (*close)(struct program *p);
	const struct program_way *way;
	void (*round)(struct program *p, uint64_t n, uint64_t *ticks);
	uint64_t (*flow)(struct program *p, uint64_t n);
	void (*payload)(struct program *p, uint64_t n, uint64_t *ticks);
};

/** program_main() - main() of a peer program; its exit status */
int program_main(int argc, char **argv, const struct program_peer *peer);

/** program_use() - whose failures program_fail() reports, where there is no program_main() */
void program_use(const struct program_peer *peer);

/** program_fail() - one line on standard error, clean up, exit with 1 */
void program_fail(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));

/** program_path() - @before, the directory, "/" and @name, allocated */
char *program_path(const struct program *p, const char *before, const char *name);

/** program_buffer() - @bytes of zeroed memory of this process, on a line, in place already */
void *program_buffer(size_t bytes);

/* ------------------------------------------------------------ messages --- */

#define program_inline static inline __attribute__((always_inline))

program_inline void program_stamp(void *data, size_t size, uint64_t number)
{
	memcpy((char *)data + size - sizeof(number), &number, sizeof(number));
	memcpy(data, &number, sizeof(number));
}

program_inline void program_check(const void *data, size_t size, const struct program *p,
				  uint64_t number)
{
	uint64_t first, last;

	if (size != p->size)
		program_fail("message %llu has %zu bytes instead of %zu",
			     (unsigned long long)number, size, p->size);
	memcpy(&first, data, sizeof(first));
	memcpy(&last, (const char *)data + size - sizeof(last), sizeof(last));
	if (first != number || last != number)
		program_fail("message %llu carries the numbers %llu and %llu",
			     (unsigned long long)number, (unsigned long long)first,
			     (unsigned long long)last);
}

program_inline void program_fill(void *data, size_t size, uint64_t word)
{
	/* As wide as the compiler can: the payload's way is measured, not a loop. */
	typedef uint64_t line __attribute__((vector_size(64), aligned(1), may_alias));
	char *to = (char *)data;
	const line full = (line){ 0 } + word;
	size_t i = 0;

	for (; i + sizeof(full) <= size; i += sizeof(full))
		*(line *)(to + i) = full;
	for (; i + sizeof(word) <= size; i += sizeof(word))
		memcpy(to + i, &word, sizeof(word));
	/* a size that is no multiple of 8 */
	memcpy(to + size / sizeof(word) * sizeof(word), &word, size % sizeof(word));
}

program_inline void program_check_sum(const void *data, size_t size, const struct program *p,
				      uint64_t number)
{
	uint64_t lines = 0, sum = 0;

	if (size != p->size)
		program_fail("payload %llu has %zu bytes instead of %zu",
			     (unsigned long long)number, size, p->size);
	for (size_t i = 0; i + sizeof(sum) <= size; i += PROGRAM_LINE, lines++) {
		uint64_t word;

		memcpy(&word, (const char *)data + i, sizeof(word));
		sum += word;
	}
	if (sum != (number + 1) * lines)
		program_fail("payload %llu adds up to %llu instead of %llu",
			     (unsigned long long)number, (unsigned long long)sum,
			     (unsigned long long)((number + 1) * lines));
}

/* --------------------------------------------------------------- works --- */

/*
 * The loops become part of each peer's own file, and its functions part of them: no call through a
 * pointer is measured. A sample is in ticks until the reply is made of it.
 */
program_inline void program_ping_round(struct program *p, const struct program_way *way, uint64_t n,
				       uint64_t *ticks)
{
	uint64_t begin = sluice_ticks();

	for (uint64_t i = 0; i < n; i++) {
		const void *echo;
		uint64_t end;
		size_t size;

		program_stamp(way->begin(p, p->size), p->size, i);
		way->send(p, p->size);
		echo = way->receive(p, &size);
		program_check(echo, size, p, i);
		way->release(p);
		end = sluice_ticks();
		ticks[i] = end - begin;
		begin = end;
	}
}

program_inline void program_pong_round(struct program *p, const struct program_way *way, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		size_t size;
		const void *message = way->receive(p, &size);

		memcpy(way->begin(p, size), message, size);
		way->release(p);
		way->send(p, size);
	}
}

program_inline uint64_t program_ping_flow(struct program *p, const struct program_peer *peer,
					  const struct program_way *way, uint64_t n)
{
	uint64_t begin = sluice_ticks();

	for (uint64_t i = 0; i < n; i++) {
		program_stamp(way->begin(p, p->size), p->size, i);
		way->send(p, p->size);
	}
	if (peer->flush)
		peer->flush(p);
	return sluice_ticks() - begin;
}

program_inline uint64_t program_pong_flow(struct program *p, const struct program_way *way,
					  uint64_t n)
{
	uint64_t begin = 0;

	for (uint64_t i = 0; i < n; i++) {
		size_t size;
		const void *message = way->receive(p, &size);

		if (i == 0)
			begin = sluice_ticks();
		program_check(message, size, p, i);
		way->release(p);
	}
	return sluice_ticks() - begin;
}

program_inline void program_ping_payload(struct program *p, const struct program_way *lend,
					 const struct program_way *answers, uint64_t n,
					 uint64_t *ticks)
{
	uint64_t begin = sluice_ticks();

	for (uint64_t i = 0; i < n; i++) {
		uint64_t number, end;
		const void *answer;
		size_t size;

		program_fill(lend->begin(p, p->size), p->size, i + 1);
		lend->send(p, p->size);
		answer = answers->receive(p, &size);
		memcpy(&number, answer, sizeof(number));
		answers->release(p);
		if (size != sizeof(number) || number != i)
			program_fail("payload %llu was answered with %llu in %zu bytes",
				     (unsigned long long)i, (unsigned long long)number, size);
		end = sluice_ticks();
		ticks[i] = end - begin;
		begin = end;
	}
}

program_inline void program_pong_payload(struct program *p, const struct program_way *lend,
					 const struct program_way *answers, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		size_t size;
		const void *message = lend->receive(p, &size);

		program_check_sum(message, size, p, i);
		lend->release(p);
		memcpy(answers->begin(p, sizeof(i)), &i, sizeof(i));
		answers->send(p, sizeof(i));
	}
}

/*
 * PROGRAM_WORKS() - the commands of a peer, as functions of its file
 * @peer:	the struct program_peer, declared before
 * @way:	for messages
 * @lend:	for payloads
 * @answers:	for what is said to them
 */
#define PROGRAM_WORKS(peer, way, lend, answers)							\
static void peer##_round(struct program *p, uint64_t n, uint64_t *ticks)			\
{												\
	if (p->ping)										\
		program_ping_round(p, &(way), n, ticks);					\
	else											\
		program_pong_round(p, &(way), n);						\
}												\
static inline uint64_t peer##_flow(struct program *p, uint64_t n)				\
{												\
	return p->ping ? program_ping_flow(p, &(peer), &(way), n) :				\
			 program_pong_flow(p, &(way), n);					\
}												\
static void peer##_payload(struct program *p, uint64_t n, uint64_t *ticks)			\
{												\
	if (p->ping)										\
		program_ping_payload(p, &(lend), &(answers), n, ticks);				\
	else											\
		program_pong_payload(p, &(lend), &(answers), n);					\
}

#ifdef __cplusplus
}
#endif

#endif /* SLUICE_PERF_PROGRAM_H */
