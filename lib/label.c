// SPDX-License-Identifier: MIT
/* label.c: the 64 bytes before a payload that name a model and a deadline, and what rules ask. */
#include <string.h>
#include <time.h>

#include "route.h"

bool __sluice_model_valid(const char *name, const char *allowed)
{
	for (; *name; name++)
		if (!(*name >= '0' && *name <= '9') && !(*name >= 'A' && *name <= 'Z') &&
		    !(*name >= 'a' && *name <= 'z') && !strchr(allowed, *name))
			return false;
	return true;
}

/* Ends, is made of what may be shown, and has nothing behind its end. */
static bool model_valid(const char model[SLUICE_MODEL_MAX])
{
	size_t n = strnlen(model, SLUICE_MODEL_MAX);

	if (n == SLUICE_MODEL_MAX || !__sluice_model_valid(model, "._-:/+@"))
		return false;
	for (; n < SLUICE_MODEL_MAX; n++)
		if (model[n])
			return false;
	return true;
}

int sluice_label_begin(void *buf, size_t capacity, struct sluice_label *l, void **payload)
{
	size_t n = strnlen(l->model, SLUICE_MODEL_MAX);

	memset(l->model + n, 0, SLUICE_MODEL_MAX - n);
	if (n == SLUICE_MODEL_MAX || !model_valid(l->model))
		return __sluice_err(-EINVAL, "a model's name has at most %d letters, digits and "
				    ". _ - : / + @", SLUICE_MODEL_MAX - 1);
	if (capacity < SLUICE_LABEL_BYTES)
		return __sluice_err(-EMSGSIZE, "a label needs %u bytes, there are %zu",
				    SLUICE_LABEL_BYTES, capacity);
	l->magic = SLUICE_LABEL_MAGIC;
	l->version = SLUICE_LABEL_VERSION;
	l->reserved = 0;
	memcpy(buf, l, sizeof(*l));
	*payload = (char *)buf + SLUICE_LABEL_BYTES;
	return 0;
}

int sluice_label_read(const struct sluice_msg *msg, struct sluice_label *l,
		      struct sluice_msg *payload)
{
	struct sluice_label h;

	*payload = *msg;
	if (msg->len < sizeof(h.magic))
		return -ENOMSG;
	memset(&h, 0, sizeof(h));
	memcpy(&h, msg->data, msg->len < sizeof(h) ? msg->len : sizeof(h));
	if (h.magic != SLUICE_LABEL_MAGIC)
		return -ENOMSG;
	if (msg->len < sizeof(h))
		return __sluice_err(-EBADMSG, "the message begins like a label and has %u bytes, "
				    "of which a label alone takes %u", msg->len,
				    SLUICE_LABEL_BYTES);
	if (h.version != SLUICE_LABEL_VERSION || h.reserved)
		return __sluice_err(-EBADMSG, "the message's label is of version %u, this library "
				    "reads %u", h.version, SLUICE_LABEL_VERSION);
	if (!model_valid(h.model))
		return __sluice_err(-EBADMSG, "the message's label names a model with other than "
				    "letters, digits and . _ - : / + @");
	*l = h;
	payload->data = (const char *)msg->data + SLUICE_LABEL_BYTES;
	payload->len = msg->len - SLUICE_LABEL_BYTES;
	return 0;
}

int64_t sluice_time_left(uint64_t deadline)
{
	u64 now;

	if (!deadline)
		return SLUICE_FOREVER;
	now = __sluice_now();
	if (deadline <= now)
		return 0;
	return deadline - now > (u64)INT64_MAX ? INT64_MAX : (int64_t)(deadline - now);
}

int sluice_facts_read(const struct sluice_msg *msg, struct sluice_facts *f)
{
	struct sluice_label label = { .deadline = 0 };
	struct sluice_msg payload;
	const void *data;
	int ret = sluice_label_read(msg, &label, &payload);

	if (ret && ret != -ENOMSG)
		return ret;
	memset(f, 0, sizeof(*f));
	f->deadline_ns = sluice_time_left(label.deadline);
	f->kind = msg->kind;
	memcpy(f->model, label.model, sizeof(f->model));
	ret = sluice_tensor_read(&payload, &f->type, &data);
	if (ret && ret != -ENOMSG)
		return ret;
	f->typed = !ret;
	f->length = f->typed ? f->type.bytes : payload.len;
	if (f->typed && f->type.modality == SLUICE_MODALITY_TOKENS)
		f->tokens = f->type.bytes / sluice_dtype_size(f->type.dtype);
	return 0;
}
