/* SPDX-License-Identifier: MIT */
/* lib_ring.h: a stage with both ends in this process, for each way to sleep. */
#ifndef SLUICE_TEST_LIB_RING_H
#define SLUICE_TEST_LIB_RING_H

#include "lib_common.h"

/* A stage, a context and both ends in this process; each test runs with every variant. */
FIXTURE(ring)
{
	char stage[SLUICE_NAME_MAX];
	struct sluice_ctx *ctx, *other;
	struct sluice_ep *in, *out;
};

FIXTURE_VARIANT(ring)
{
	unsigned int ctx_flags;
	unsigned int attach_flags;
};

FIXTURE_VARIANT_ADD(ring, uring)
{
};

FIXTURE_VARIANT_ADD(ring, uring_sole)
{
	.attach_flags = SLUICE_ATTACH_SOLE,
};

FIXTURE_VARIANT_ADD(ring, poll)
{
	.ctx_flags = SLUICE_CTX_NO_URING,
};

FIXTURE_SETUP(ring)
{
	struct sluice_create c = { .nbufs = 8, .bufsize = 8192 };

	ASSERT_EQ(0, make_stage(self->stage, c)) TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, sluice_ctx_create(variant->ctx_flags, &self->ctx));
	ASSERT_EQ(0, sluice_ctx_create(variant->ctx_flags, &self->other));
	ASSERT_EQ(!(variant->ctx_flags & SLUICE_CTX_NO_URING), sluice_ctx_uses_uring(self->ctx));
	ASSERT_EQ(0, sluice_attach(self->ctx, self->stage, SLUICE_PRODUCER, variant->attach_flags,
				   &self->out)) TH_LOG("%s", sluice_error());
	ASSERT_EQ(0, sluice_attach(self->other, self->stage, SLUICE_CONSUMER, 0, &self->in))
		TH_LOG("%s", sluice_error());
}

FIXTURE_TEARDOWN(ring)
{
	sluice_ctx_destroy(self->ctx);
	sluice_ctx_destroy(self->other);
	EXPECT_EQ(0, sluice_destroy(self->stage, 0, 0)) TH_LOG("%s", sluice_error());
}

#endif /* SLUICE_TEST_LIB_RING_H */
