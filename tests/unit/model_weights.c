// SPDX-License-Identifier: MIT
/* Description: weights are dequantised once, and a damaged cache file is made again */
#include "model_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "llama.h"

/* How often each kind of progress was reported. */
struct seen {
	int hash, dequantise, wait;
};

static void count(void *ctx, const char *what, uint64_t done, uint64_t total)
{
	struct seen *s = ctx;

	assert_true(done <= total);
	s->hash += !strcmp(what, "hash");
	s->dequantise += !strcmp(what, "dequantise");
	s->wait += !strcmp(what, "wait");
}

/* Open the model, check one row of its embedding, close it. */
static struct seen open_once(const char *path)
{
	struct seen seen = { 0 };
	struct llama_options opt = { .progress = count, .progress_ctx = &seen };
	float row[FX_EMBD];
	struct model_error err;
	struct llama *m;
	int32_t id = 17;

	if (llama_open(path, LLAMA_ROLE_ALL, &opt, &m, &err))
		fail_msg("%s", err.text);
	assert_int_equal(llama_embed(m, &id, 1, row), 0);
	for (size_t i = 0; i < FX_EMBD; i++)
		assert_true(row[i] > -0.5f && row[i] < 0.5f && row[i] != 0);
	llama_close(m);
	return seen;
}

/* Names in the weights directory that end like this; the first one's path, and how many. */
static int find(const char *ending, char *path, size_t size)
{
	char dir[128];
	struct dirent *d;
	int n = 0;
	DIR *dp;

	snprintf(dir, sizeof(dir), "%s/weights", fx_dir);
	dp = opendir(dir);
	while (dp && (d = readdir(dp))) {
		size_t len = strlen(d->d_name), end = strlen(ending);

		if (len < end || strcmp(d->d_name + len - end, ending))
			continue;
		if (!n++ && path)
			snprintf(path, size, "%s/%s", dir, d->d_name);
	}
	if (dp)
		closedir(dp);
	return n;
}

static void clear_cache(void)
{
	char command[160];

	snprintf(command, sizeof(command), "rm -rf '%s/weights'", fx_dir);
	assert_int_equal(system(command), 0);
}

static void second_start_reads_nothing(void **state)
{
	struct seen s;

	(void)state;
	clear_cache();
	s = open_once(fx_model_file(NULL));
	assert_true(s.hash > 0 && s.dequantise > 0);
	s = open_once(fx_path("model.gguf"));
	assert_int_equal(s.hash, 0);
	assert_int_equal(s.dequantise, 0);
	assert_int_equal(find(".f32", NULL, 0), 1);
}

static void another_model_gets_another_file(void **state)
{
	struct fx_options other = { .seed = 99 };
	struct seen s;

	(void)state;
	clear_cache();
	open_once(fx_model_file(NULL));
	s = open_once(fx_model_file(&other));
	assert_true(s.dequantise > 0);
	assert_int_equal(find(".f32", NULL, 0), 2);
	/* The first one again, under another inode and time: found by its content. */
	s = open_once(fx_model_file(NULL));
	assert_int_equal(s.dequantise, 0);
}

/* Damage the cache file at @offset, or cut it there if @byte is negative. */
static void expect_rebuild(off_t offset, int byte)
{
	char path[256], b = (char)byte;
	struct seen s;
	int fd;

	assert_int_equal(find(".f32", path, sizeof(path)), 1);
	if (byte < 0) {
		assert_int_equal(truncate(path, offset), 0);
	} else {
		fd = open(path, O_RDWR);
		assert_true(fd >= 0 && pwrite(fd, &b, 1, offset) == 1);
		close(fd);
	}
	s = open_once(fx_path("model.gguf"));
	assert_true(s.dequantise > 0);
	s = open_once(fx_path("model.gguf"));
	assert_int_equal(s.dequantise, 0);
}

static void damaged_cache_is_rebuilt(void **state)
{
	(void)state;
	clear_cache();
	open_once(fx_model_file(NULL));
	expect_rebuild(0, -1);
	expect_rebuild(100, -1);
	expect_rebuild(8192, -1);
	for (off_t offset = 0; offset < 120; offset += 7)
		expect_rebuild(offset, 0xee);
}

static void processes_that_start_at_once_write_once(void **state)
{
	enum { N = 6 };
	pid_t pid[N];
	int built = 0, go[2];

	(void)state;
	clear_cache();
	fx_model_file(NULL);
	assert_int_equal(pipe(go), 0);
	for (int i = 0; i < N; i++) {
		pid[i] = fork();
		assert_true(pid[i] >= 0);
		if (!pid[i]) {
			char c;

			close(go[1]);
			/* Wait for the others: end of file comes when the parent closes. */
			if (read(go[0], &c, 1) < 0)
				_exit(9);
			_exit(open_once(fx_path("model.gguf")).dequantise ? 1 : 0);
		}
	}
	close(go[0]);
	close(go[1]);
	for (int i = 0; i < N; i++) {
		int status;

		assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
		built += WEXITSTATUS(status);
	}
	assert_int_equal(built, 1);
	assert_int_equal(find(".f32", NULL, 0), 1);
}

static void killed_writer_leaves_no_cache(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	clear_cache();
	fx_model_file(NULL);
	pid = fork();
	if (!pid) {
		/* A file size limit below the cache's kills the writer in the middle of it. */
		struct rlimit limit = { 8192, 8192 };
		struct model_error err;
		struct llama *m;

		setrlimit(RLIMIT_FSIZE, &limit);
		_exit(-llama_open(fx_path("model.gguf"), LLAMA_ROLE_ALL, NULL, &m, &err));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ);
	assert_int_equal(find(".f32", NULL, 0), 0);
	assert_true(open_once(fx_path("model.gguf")).dequantise > 0);
	assert_int_equal(find(".f32", NULL, 0), 1);
}

static void unusable_place_is_named(void **state)
{
	struct model_error err;
	struct llama *m;
	char blocked[128];

	(void)state;
	fx_model_file(NULL);
	fx_write(fx_path("file"), "x", 1);
	snprintf(blocked, sizeof(blocked), "%s/file", fx_dir);
	setenv("SLUICE_CACHE", blocked, 1);
	assert_int_equal(llama_open(fx_path("model.gguf"), LLAMA_ROLE_ALL, NULL, &m, &err),
			 -ENOTDIR);
	assert_non_null(strstr(err.text, "SLUICE_CACHE"));
	assert_non_null(strstr(err.text, blocked));
	setenv("SLUICE_CACHE", fx_dir, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(second_start_reads_nothing),
		cmocka_unit_test(another_model_gets_another_file),
		cmocka_unit_test(damaged_cache_is_rebuilt),
		cmocka_unit_test(processes_that_start_at_once_write_once),
		cmocka_unit_test(killed_writer_leaves_no_cache),
		cmocka_unit_test(unusable_place_is_named),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, fx_make_dir, fx_remove_dir);
}
