// SPDX-License-Identifier: MIT
/* Description: the stages that are described for syzkaller have the regions that it maps */
#include "kmod_common.h"

/* tests/syzkaller/dev_sluice.txt.const, as text. */
extern const char described_text[];
asm(".pushsection .rodata\n"
    "described_text:\n"
    "	.incbin \"../syzkaller/dev_sluice.txt.const\"\n"
    "	.byte 0\n"
    "	.popsection\n");

static u64 described(const char *name)
{
	char line[80];
	const char *at;

	snprintf(line, sizeof(line), "\n%s = amd64:", name);
	at = strstr(described_text, line);
	return at ? strtoull(at + strlen(line), NULL, 10) : 0;
}

static int region_errno(int fd, u64 offset, u64 pages, void **at)
{
	*at = mmap(NULL, pages * PAGE, PROT_READ, MAP_SHARED, fd, (off_t)offset);
	return *at == MAP_FAILED ? -errno : 0;
}

FIXTURE(shape)
{
	int fd;
	struct sluice_attach a;
};

FIXTURE_VARIANT(shape)
{
	struct sluice_create create;
	const char *pages;
	u32 payload_pages;
};

FIXTURE_VARIANT_ADD(shape, plain)
{
	.create = { .nslots = SLUICE_MIN_SLOTS },
	.pages = "SLUICE_SYZ_PLAIN_PAGES",
};

FIXTURE_VARIANT_ADD(shape, buffers)
{
	.create = { .nslots = SLUICE_MIN_SLOTS, .nbufs = 4, .bufsize = 4096 },
	.pages = "SLUICE_SYZ_BUFFERS_PAGES",
	.payload_pages = 4,
};

FIXTURE_SETUP(shape)
{
	ASSERT_EQ(0, stage_create("t", variant->create));
	self->fd = stage_open("t", O_RDWR);
	ASSERT_EQ(0, attach_raw(self->fd, SLUICE_PRODUCER, 0, &self->a));
}

FIXTURE_TEARDOWN(shape)
{
	close(self->fd);
	EXPECT_EQ(0, stage_destroy("t", 0, SLUICE_DESTROY_FORCE));
}

TEST_F(shape, maps_as_described)
{
	const struct sluice_hints *hints;
	void *at;

	ASSERT_EQ(0, region_errno(self->fd, described("SLUICE_MMAP_CONTROL"),
				  described(variant->pages), &at));
	if (variant->payload_pages)
		EXPECT_EQ(0, region_errno(self->fd, described("SLUICE_MMAP_PAYLOAD"),
					  variant->payload_pages, &at));
	ASSERT_EQ(0, region_errno(self->fd, described("SLUICE_MMAP_HINTS"), 1, &at));
	hints = at;
	/* where it writes slots and buffer words */
	EXPECT_EQ(described("SLUICE_SYZ_SLOT_FIRST"), hints->buffers_offset);
	if (!variant->payload_pages) {
		EXPECT_EQ(described("SLUICE_SYZ_SLOT_FIRST"), hints->slots_offset);
		EXPECT_EQ(described("SLUICE_SYZ_SLOT_LAST"),
			  hints->slots_offset + (hints->nslots - 1) * sizeof(struct sluice_slot));
	} else {
		EXPECT_EQ(described("SLUICE_SYZ_BUFFER_LAST"),
			  hints->buffers_offset + (hints->nbufs - 1) * SLUICE_BUFFER_STRIDE);
	}
}

TEST_HARNESS_MAIN
