/* SPDX-License-Identifier: MIT */
/* expand.h - ${KEY} and ${KEY:-default} in a pipeline file */
#ifndef SLUICECTL_EXPAND_H
#define SLUICECTL_EXPAND_H

struct expand;

/**
 * expand_create() - begin with the values of the command line
 * @sets:	KEY=VALUE, NULL terminated; kept, not copied; NULL = none
 *
 * Return: 0 or -ENOMEM.
 */
int expand_create(const char *const *sets, struct expand **out);
void expand_free(struct expand *e);

/** expand_default() - a variable of the file; its value may name others. Return: 0 or -ENOMEM */
int expand_default(struct expand *e, const char *key, const char *value);

/**
 * expand_text() - put the values in
 * @text:	"$${" stands for "${"; any other dollar sign for itself
 * @out:	allocated
 * @why:	out: CTL_WHY_MAX bytes, the reason
 *
 * A value comes from --set, else from the file, else from the environment, else is the default.
 * Return: 0, -EINVAL (syntax), -ENOENT (no value), -ELOOP (it names itself), -ENOMEM.
 */
int expand_text(struct expand *e, const char *text, char **out, char *why);

/** expand_unused() - a KEY=VALUE of @sets that nothing asked for, or NULL */
const char *expand_unused(const struct expand *e);

#endif /* SLUICECTL_EXPAND_H */
