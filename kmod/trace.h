/* SPDX-License-Identifier: GPL-2.0 */
/* trace.h: what an operator can watch: perf trace -e 'sluice:*' */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM sluice

#if !defined(SLUICE_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define SLUICE_TRACE_H

#include <linux/tracepoint.h>

#include "internal.h"

DECLARE_EVENT_CLASS(sluice_stage_class,
	TP_PROTO(const struct sl_stage *s),
	TP_ARGS(s),
	TP_STRUCT__entry(
		__array(char, stage, SLUICE_NAME_MAX)
		__field(u32, nslots)
		__field(u32, nbufs)
		__field(u32, bufsize)
	),
	TP_fast_assign(
		memcpy(__entry->stage, s->name, SLUICE_NAME_MAX);
		__entry->nslots = s->nslots;
		__entry->nbufs = s->nbufs;
		__entry->bufsize = s->bufsize;
	),
	TP_printk("stage=%s nslots=%u nbufs=%u bufsize=%u", __entry->stage, __entry->nslots,
		  __entry->nbufs, __entry->bufsize)
);

DEFINE_EVENT(sluice_stage_class, sluice_create, TP_PROTO(const struct sl_stage *s), TP_ARGS(s));
DEFINE_EVENT(sluice_stage_class, sluice_destroy, TP_PROTO(const struct sl_stage *s), TP_ARGS(s));
DEFINE_EVENT(sluice_stage_class, sluice_repair, TP_PROTO(const struct sl_stage *s), TP_ARGS(s));

DECLARE_EVENT_CLASS(sluice_endpoint_class,
	TP_PROTO(const struct sl_stage *s, u32 id, u32 role),
	TP_ARGS(s, id, role),
	TP_STRUCT__entry(
		__array(char, stage, SLUICE_NAME_MAX)
		__field(u32, id)
		__field(u32, role)
	),
	TP_fast_assign(
		memcpy(__entry->stage, s->name, SLUICE_NAME_MAX);
		__entry->id = id;
		__entry->role = role;
	),
	TP_printk("stage=%s endpoint=%u role=%s", __entry->stage, __entry->id,
		  __entry->role == SLUICE_PRODUCER ? "producer" : "consumer")
);

DEFINE_EVENT(sluice_endpoint_class, sluice_attach,
	     TP_PROTO(const struct sl_stage *s, u32 id, u32 role), TP_ARGS(s, id, role));
DEFINE_EVENT(sluice_endpoint_class, sluice_death,
	     TP_PROTO(const struct sl_stage *s, u32 id, u32 role), TP_ARGS(s, id, role));
DEFINE_EVENT(sluice_endpoint_class, sluice_evict,
	     TP_PROTO(const struct sl_stage *s, u32 id, u32 role), TP_ARGS(s, id, role));
DEFINE_EVENT(sluice_endpoint_class, sluice_expel,
	     TP_PROTO(const struct sl_stage *s, u32 id, u32 role), TP_ARGS(s, id, role));

DECLARE_EVENT_CLASS(sluice_ticket_class,
	TP_PROTO(const struct sl_stage *s, u64 ticket, u32 attempt, int reason),
	TP_ARGS(s, ticket, attempt, reason),
	TP_STRUCT__entry(
		__array(char, stage, SLUICE_NAME_MAX)
		__field(u64, ticket)
		__field(u32, attempt)
		__field(int, reason)
	),
	TP_fast_assign(
		memcpy(__entry->stage, s->name, SLUICE_NAME_MAX);
		__entry->ticket = ticket;
		__entry->attempt = attempt;
		__entry->reason = reason;
	),
	TP_printk("stage=%s ticket=%llu attempt=%u reason=%d", __entry->stage, __entry->ticket,
		  __entry->attempt, __entry->reason)
);

DEFINE_EVENT(sluice_ticket_class, sluice_redeliver,
	     TP_PROTO(const struct sl_stage *s, u64 ticket, u32 attempt, int reason),
	     TP_ARGS(s, ticket, attempt, reason));
DEFINE_EVENT(sluice_ticket_class, sluice_discard,
	     TP_PROTO(const struct sl_stage *s, u64 ticket, u32 attempt, int reason),
	     TP_ARGS(s, ticket, attempt, reason));
DEFINE_EVENT(sluice_ticket_class, sluice_dead_letter,
	     TP_PROTO(const struct sl_stage *s, u64 ticket, u32 attempt, int reason),
	     TP_ARGS(s, ticket, attempt, reason));
DEFINE_EVENT(sluice_ticket_class, sluice_dead_dropped,
	     TP_PROTO(const struct sl_stage *s, u64 ticket, u32 attempt, int reason),
	     TP_ARGS(s, ticket, attempt, reason));

#endif /* SLUICE_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
