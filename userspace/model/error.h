/* SPDX-License-Identifier: MIT */
/*
 * error.h - how every function of the model library reports a failure
 *
 * One convention: a function that can fail returns 0 (or a count) on success and a negative errno
 * value on failure. Where a number alone would not tell the user what to do, the function also
 * takes a `struct model_error *` (which may be NULL) and leaves one line of text there, without a
 * newline, that names the file, key, tensor or offset and the remedy.
 */
#ifndef SLUICE_MODEL_ERROR_H
#define SLUICE_MODEL_ERROR_H

#define MODEL_ERROR_MAX 512

struct model_error {
	char text[MODEL_ERROR_MAX];
};

/**
 * model_fail() - fill in an error and return its negative errno
 * @err: where the text goes; NULL is allowed and drops it
 * @errnum: positive errno value
 * @fmt: printf format of the one-line message; control characters that come with the arguments
 *       (names from a hostile file, say) are replaced by '?'
 *
 * Return: -@errnum, so that callers can write ``return model_fail(...)``.
 */
int model_fail(struct model_error *err, int errnum, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif /* SLUICE_MODEL_ERROR_H */
