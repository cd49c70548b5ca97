// SPDX-License-Identifier: MIT
/*
 * Description: any pipeline file is loaded with everything it promises, or refused in one line
 */
#include <unistd.h>

#include "fuzz.h"
#include "sluicectl/pipeline.h"
#include "sluicectl/sluicectl.h"

static char path[64];

static void remove_file(void)
{
	unlink(path);
}

/* toml_load() reads files; this one is in memory where the machine has such a directory. */
static void write_file(const uint8_t *data, size_t size)
{
	static int fd = -1;

	if (fd < 0) {
		snprintf(path, sizeof(path), "%s/fuzz-toml-XXXXXX",
			 access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
		fd = mkstemp(path);
		fuzz_check(fd >= 0);
		atexit(remove_file);
	}
	fuzz_check(!ftruncate(fd, 0) && pwrite(fd, data, size, 0) == (ssize_t)size);
}

static void check_list(char **list, bool environment)
{
	for (; list && *list; list++)
		fuzz_check(!environment || strchr(*list, '=') > *list);
}

static void check_stage(const struct pipeline *p, const struct pipeline_stage *s)
{
	char why[CTL_WHY_MAX];

	fuzz_check(memchr(s->create.name, 0, sizeof(s->create.name)) && s->create.name[0]);
	fuzz_check(!ctl_geometry_check(&s->create, why));
	fuzz_check(s->replicas >= 1 && s->replicas <= PIPELINE_MAX_REPLICAS);
	fuzz_check(s->restart <= RESTART_NEVER && s->create.mode <= 0777);
	fuzz_check(!s->command || s->command[0]);
	check_list(s->command, false);
	check_list(s->environment, true);
	for (const struct pipeline_stage *other = p->stages; other < s; other++)
		fuzz_check(strcmp(other->create.name, s->create.name));
}

static void check_pipeline(const struct pipeline *p)
{
	fuzz_check(p->path[0] == '/' && p->name[0] && strlen(p->name) < SLUICE_NAME_MAX);
	fuzz_check(!strchr(p->name, '/'));
	fuzz_check(p->nstages >= 1 && p->nstages <= PIPELINE_MAX_STAGES);
	for (size_t i = 0; i < p->nstages; i++)
		check_stage(p, &p->stages[i]);
	for (int role = 0; role < PIPELINE_ROLES; role++) {
		bool found = !p->client[role];

		for (size_t i = 0; i < p->nstages && !found; i++)
			found = !strcmp(p->client[role], p->stages[i].create.name);
		fuzz_check(found);
	}
}

/* "sluicectl: FILE:LINE:COLUMN: what", and nothing that a terminal would obey. */
static void check_error(const char *text, size_t size)
{
	fuzz_check(size > 1 && text[size - 1] == '\n');
	fuzz_check(!strncmp(text, "sluicectl: ", 11) && strstr(text, path));
	for (size_t i = 0; i < size - 1; i++)
		fuzz_check((unsigned char)text[i] >= 0x20 && text[i] != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *const sets[] = { "n=3", NULL };
	FILE *real = stderr, *said;
	struct pipeline *p;
	size_t said_size;
	char *text;
	int status;

	write_file(data, size);
	said = open_memstream(&text, &said_size);
	fuzz_check(said);
	stderr = said;
	status = pipeline_load(path, size && *data == '#' ? sets : NULL, &p);
	stderr = real;
	fclose(said);
	if (status == CTL_OK) {
		fuzz_check(!said_size);
		check_pipeline(p);
		pipeline_free(p);
	} else {
		check_error(text, said_size);
	}
	free(text);
	return 0;
}
