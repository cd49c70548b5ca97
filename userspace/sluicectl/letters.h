/* SPDX-License-Identifier: MIT */
/*
 * letters.h - what nobody else can answer: dead letters, and the messages of a stage without daemons
 *
 * The supervisor looks at the dead-letter stages of its pipeline without claiming: every letter
 * stays for `sluicectl dead`, and the client whose message it was gets an ERROR (rule P34: a
 * tombstone goes to the end of the pipe). While all daemons of a stage are shut off or gone it also
 * stands in for them: what reaches the stage is answered at once, with that error.
 *
 * Only a pipeline with an output stage has clients that can be told; in others nothing is touched.
 */
#ifndef SLUICECTL_LETTERS_H
#define SLUICECTL_LETTERS_H

#include <systemd/sd-event.h>

#include "pipeline.h"

struct letters;

/**
 * letters_create() - watch the dead-letter stages of @p
 * @event:	whose loop calls back
 *
 * A dead-letter stage that cannot be attached to is said on stderr and left out. Return: 0, -errno.
 */
int letters_create(const struct pipeline *p, sd_event *event, struct letters **out);
void letters_free(struct letters *l);

/**
 * letters_stand_in() - answer what comes to @stage, until letters_stand_down()
 * @error:	positive errno of the answers
 * @why:	the line of the answers, copied
 * @retry_at:	CLOCK_MONOTONIC, ns: when the stage is tried again; 0: it is not
 */
void letters_stand_in(struct letters *l, const struct pipeline_stage *stage, int error,
		      const char *why, uint64_t retry_at);
void letters_stand_down(struct letters *l, const struct pipeline_stage *stage);

#endif /* SLUICECTL_LETTERS_H */
