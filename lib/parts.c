// SPDX-License-Identifier: MIT
/* parts.c: several messages in one, with a table of where each is. */
#include <string.h>

#include <sluice/join.h>

#include "internal.h"

#define ALIGN	64u

_Static_assert(sizeof(struct sluice_parts) == SLUICE_PARTS_HEAD, "the first part begins there");

static u64 aligned(u64 n)
{
	return (n + ALIGN - 1) & ~(u64)(ALIGN - 1);
}

size_t sluice_parts_bytes(const struct sluice_msg *part, unsigned int n)
{
	u64 bytes = SLUICE_PARTS_HEAD;

	if (!n || n > SLUICE_JOIN_INPUTS)
		return 0;
	for (unsigned int i = 0; i < n; i++)
		bytes = aligned(bytes) + part[i].len;
	return bytes > UINT32_MAX ? 0 : bytes;
}

int sluice_parts_write(void *buf, size_t capacity, const struct sluice_msg *part, unsigned int n)
{
	struct sluice_parts head = {
		.magic = SLUICE_PARTS_MAGIC, .version = SLUICE_PARTS_VERSION, .n = (uint16_t)n,
	};
	size_t bytes = sluice_parts_bytes(part, n);
	u64 at = SLUICE_PARTS_HEAD;

	if (!bytes)
		return __sluice_err(-EINVAL, "%u parts do not fit into one message: 1 to %u parts, "
				    "4 GiB together", n, SLUICE_JOIN_INPUTS);
	if (bytes > capacity)
		return __sluice_err(-EMSGSIZE, "the parts need %zu bytes, there are %zu", bytes,
				    capacity);
	for (unsigned int i = 0; i < n; i++) {
		at = aligned(at);
		head.part[i].offset = (u32)at;
		head.part[i].len = part[i].len;
		head.part[i].kind = part[i].kind;
		if (part[i].len)
			memcpy((char *)buf + at, part[i].data, part[i].len);
		at += part[i].len;
	}
	memcpy(buf, &head, sizeof(head));
	return 0;
}

int sluice_parts_read(const struct sluice_msg *msg, struct sluice_msg *part)
{
	struct sluice_parts head;
	u64 end = SLUICE_PARTS_HEAD;

	if (msg->len < sizeof(head))
		return -ENOMSG;
	memcpy(&head, msg->data, sizeof(head));
	if (head.magic != SLUICE_PARTS_MAGIC)
		return -ENOMSG;
	if (head.version != SLUICE_PARTS_VERSION || !head.n || head.n > SLUICE_JOIN_INPUTS)
		return __sluice_err(-EBADMSG, "the message says it has %u parts in version %u; this "
				    "library reads 1 to %u in version %u", head.n, head.version,
				    SLUICE_JOIN_INPUTS, SLUICE_PARTS_VERSION);
	for (unsigned int i = 0; i < head.n; i++) {
		/* So each ends inside, too: where the next one begins, or the message ends. */
		if (head.part[i].offset != aligned(end) || head.part[i].offset > msg->len)
			return __sluice_err(-EBADMSG, "part %u of the message is not where it must "
					    "be", i + 1);
		part[i] = (struct sluice_msg){
			.stream = msg->stream, .counter = msg->counter,
			.data = (const char *)msg->data + head.part[i].offset,
			.len = head.part[i].len, .kind = head.part[i].kind,
			.buffer = SLUICE_NO_BUFFER,
		};
		end = (u64)head.part[i].offset + head.part[i].len;
	}
	if (end != msg->len)
		return __sluice_err(-EBADMSG, "the message has %llu bytes behind its last part",
				    (unsigned long long)(msg->len - end));
	return head.n;
}
