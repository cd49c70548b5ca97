// SPDX-License-Identifier: MIT
/* Description: however the work is cut (chunks, batches, layer ranges), the results are the same */
#include "model_fixture.h"

#include <errno.h>
#include <math.h>

#include "llama.h"

#define N_IDS	23u

static struct llama *model;
static struct llama_workspace *ws;
static int32_t ids[FX_CTX];
static float embedded[FX_CTX * FX_EMBD];

static int setup(void **state)
{
	struct model_error err;
	uint32_t random = 3;

	if (fx_make_dir(state) ||
	    llama_open(fx_model_file(NULL), LLAMA_ROLE_ALL, NULL, &model, &err) ||
	    llama_workspace_create(model, FX_CTX, 4, &ws))
		return -1;
	for (uint32_t i = 0; i < FX_CTX; i++)
		ids[i] = fx_random(&random) % FX_VOCAB;
	return llama_embed(model, ids, FX_CTX, embedded);
}

static int teardown(void **state)
{
	llama_workspace_free(ws);
	llama_close(model);
	return fx_remove_dir(state);
}

static struct llama_kv new_kv(uint32_t capacity)
{
	size_t bytes = llama_kv_bytes(model, capacity);
	struct llama_kv kv;
	void *data = malloc(bytes);

	memset(data, 0xff, bytes);	/* NaN: what is read without being written is seen */
	llama_kv_init(model, &kv, data, capacity);
	return kv;
}

static void assert_same(const float *got, const float *want, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!(fabsf(got[i] - want[i]) <= 2e-4f * (1 + fabsf(want[i]))))
			fail_msg("[%zu]: %g instead of %g", i, (double)got[i], (double)want[i]);
	}
}

/* The state after N_IDS tokens in one prefill. */
static void reference(struct llama_kv *kv, float last[FX_EMBD])
{
	*kv = new_kv(N_IDS);
	assert_int_equal(llama_prefill(model, ws, kv, 0, embedded, N_IDS, last), 0);
	for (size_t i = 0; i < FX_EMBD; i++)
		assert_true(isfinite(last[i]));
}

/* All positions of two blocks of perhaps different capacity. */
static void assert_same_kv(const struct llama_kv *got, const struct llama_kv *want, uint32_t n)
{
	size_t planes = FX_LAYERS * 2 * FX_KV_HEADS;

	for (size_t p = 0; p < planes; p++)
		assert_same(got->data + p * got->capacity * FX_HEAD_DIM,
			    want->data + p * want->capacity * FX_HEAD_DIM, n * FX_HEAD_DIM);
}

static void config_is_the_files(void **state)
{
	const struct llama_config *c = llama_config(model);

	(void)state;
	assert_int_equal(c->n_layer, FX_LAYERS);
	assert_int_equal(c->n_embd, FX_EMBD);
	assert_int_equal(c->head_dim, FX_HEAD_DIM);
	assert_int_equal(c->n_vocab, FX_VOCAB);
	assert_int_equal(c->eos_id, FX_END);
	assert_int_equal(c->eot_id, -1);
	assert_true(c->tied_output);
	assert_int_equal(llama_kv_bytes(model, 10),
			 FX_LAYERS * 2 * FX_KV_HEADS * 10 * FX_HEAD_DIM * sizeof(float));
}

static void chunks_equal_the_whole(void **state)
{
	struct llama_kv want_kv, kv;
	float want[FX_EMBD], last[FX_EMBD];

	(void)state;
	reference(&want_kv, want);
	for (uint32_t chunk = 1; chunk < N_IDS; chunk += 3) {
		struct llama_workspace *small;

		/* Chunks of the workspace's making, and calls that continue a stream. */
		kv = new_kv(N_IDS + 5);
		assert_int_equal(llama_workspace_create(model, chunk, 1, &small), 0);
		assert_int_equal(llama_prefill(model, small, &kv, 0, embedded, chunk, last), 0);
		assert_int_equal(llama_prefill(model, small, &kv, chunk, embedded + chunk * FX_EMBD,
					       N_IDS - chunk, last), 0);
		assert_same(last, want, FX_EMBD);
		assert_same_kv(&kv, &want_kv, N_IDS);
		llama_workspace_free(small);
		free(kv.data);
	}
	free(want_kv.data);
}

static void steps_equal_the_whole(void **state)
{
	struct llama_kv want_kv, kv = new_kv(N_IDS), *kvp = &kv;
	float want[FX_EMBD], hidden[FX_EMBD];

	(void)state;
	reference(&want_kv, want);
	for (uint32_t pos = 0; pos < N_IDS; pos++) {
		memcpy(hidden, embedded + pos * FX_EMBD, sizeof(hidden));
		assert_int_equal(llama_decode(model, ws, &kvp, &pos, 1, hidden), 0);
	}
	assert_same(hidden, want, FX_EMBD);
	assert_same_kv(&kv, &want_kv, N_IDS);
	free(kv.data);
	free(want_kv.data);
}

/* Streams of different lengths in one batch, more than the workspace takes at once. */
static void batches_equal_single_streams(void **state)
{
	enum { STREAMS = 11 };
	struct llama_kv kv[STREAMS], *kvp[STREAMS];
	uint32_t pos[STREAMS];
	float hidden[STREAMS * FX_EMBD], last[FX_EMBD];

	(void)state;
	for (uint32_t s = 0; s < STREAMS; s++) {
		kv[s] = new_kv(FX_CTX);
		kvp[s] = &kv[s];
		pos[s] = 1 + s * 2;
		assert_int_equal(llama_prefill(model, ws, &kv[s], 0, embedded, pos[s], last), 0);
		memcpy(hidden + s * FX_EMBD, embedded + pos[s] * FX_EMBD, FX_EMBD * sizeof(float));
	}
	assert_int_equal(llama_decode(model, ws, kvp, pos, STREAMS, hidden), 0);
	for (uint32_t s = 0; s < STREAMS; s++) {
		struct llama_kv own = new_kv(FX_CTX);

		assert_int_equal(llama_prefill(model, ws, &own, 0, embedded, pos[s] + 1, last), 0);
		assert_same(hidden + s * FX_EMBD, last, FX_EMBD);
		assert_same_kv(&kv[s], &own, pos[s] + 1);
		free(own.data);
		free(kv[s].data);
	}
}

static void layer_ranges_equal_the_whole(void **state)
{
	struct llama_kv want_kv, part[FX_LAYERS], *kvp;
	float want[FX_EMBD], hidden[N_IDS * FX_EMBD];
	uint32_t pos = 0, n = N_IDS;

	(void)state;
	reference(&want_kv, want);
	memcpy(hidden, embedded, sizeof(hidden));
	for (uint32_t l = 0; l < FX_LAYERS; l++) {
		/* A block of this layer alone, as a stage that runs one layer has it. */
		llama_kv_init_range(model, &part[l], malloc(llama_kv_bytes_range(model, n, l, l + 1)),
				    n, l, l + 1);
		kvp = &part[l];
		assert_int_equal(llama_layers(model, ws, &kvp, &pos, &n, 1, hidden, l, l + 1), 0);
		assert_same(part[l].data, want_kv.data + (size_t)l * 2 * FX_KV_HEADS * n *
			    FX_HEAD_DIM, 2 * FX_KV_HEADS * n * FX_HEAD_DIM);
		assert_int_equal(llama_layers(model, ws, &kvp, &pos, &n, 1, hidden, 0, FX_LAYERS),
				 -EINVAL);
		free(part[l].data);
	}
	assert_same(hidden + (N_IDS - 1) * FX_EMBD, want, FX_EMBD);
	free(want_kv.data);
}

/* Two processes, each with its layers: prefill and a step give the very bits of one. */
static void shards_are_the_whole_bit_by_bit(void **state)
{
	const uint32_t n = N_IDS - 1, one = 1;
	size_t plane = (size_t)2 * FX_KV_HEADS * N_IDS * FX_HEAD_DIM;
	float between[N_IDS * FX_EMBD], first[FX_EMBD], step[FX_EMBD], last[FX_EMBD];
	struct llama_kv whole = new_kv(N_IDS), *kvp = &whole;

	(void)state;
	assert_int_equal(llama_prefill(model, ws, &whole, 0, embedded, n, first), 0);
	memcpy(step, embedded + n * FX_EMBD, sizeof(step));
	assert_int_equal(llama_decode(model, ws, &kvp, &n, 1, step), 0);
	for (uint32_t cut = 1; cut < FX_LAYERS; cut++) {
		struct llama_kv kv[2] = { new_kv(N_IDS), new_kv(N_IDS) };

		llama_kv_init_range(model, &kv[0], kv[0].data, N_IDS, 0, cut);
		llama_kv_init_range(model, &kv[1], kv[1].data, N_IDS, cut, FX_LAYERS);
		assert_int_equal(llama_prefill_range(model, ws, &kv[0], 0, embedded, n, 0, cut,
						     between), 0);
		assert_int_equal(llama_prefill_range(model, ws, &kv[1], 0, between, n, cut,
						     FX_LAYERS, last), 0);
		assert_memory_equal(last, first, sizeof(last));
		memcpy(last, embedded + n * FX_EMBD, sizeof(last));
		for (int s = 0; s < 2; s++) {
			kvp = &kv[s];
			assert_int_equal(llama_layers(model, ws, &kvp, &n, &one, 1, last,
						      kv[s].layer_first, kv[s].layer_last), 0);
			assert_memory_equal(kv[s].data, whole.data + kv[s].layer_first * plane,
					    (kv[s].layer_last - kv[s].layer_first) * plane *
					    sizeof(float));
		}
		assert_memory_equal(last, step, sizeof(last));
		assert_int_equal(llama_prefill_range(model, ws, &kv[0], 0, embedded, n, 0, cut + 1,
						     between), -EINVAL);
		assert_int_equal(llama_prefill_range(model, ws, &kv[0], 0, embedded, n, cut, cut,
						     between), -EINVAL);
		free(kv[0].data);
		free(kv[1].data);
	}
	free(whole.data);
}

static void parts_are_all_layers(void **state)
{
	(void)state;
	for (uint32_t parts = 1; parts <= FX_LAYERS; parts++) {
		uint32_t next = 0, first, last;

		for (uint32_t k = 1; k <= parts; k++) {
			llama_part(model, k, parts, &first, &last);
			assert_int_equal(first, next);
			assert_in_range(last - first, FX_LAYERS / parts, FX_LAYERS / parts + 1);
			next = last;
		}
		assert_int_equal(next, FX_LAYERS);
	}
}

static void kv_prefixes_can_be_copied(void **state)
{
	struct llama_kv want_kv, small, large = new_kv(FX_CTX), *kvp = &large;
	float want[FX_EMBD], hidden[FX_EMBD];
	uint32_t pos = N_IDS - 1;

	(void)state;
	reference(&want_kv, want);
	small = new_kv(pos);
	assert_int_equal(llama_kv_copy(model, &small, &want_kv, pos), 0);
	assert_int_equal(llama_kv_copy(model, &large, &small, pos), 0);
	memcpy(hidden, embedded + pos * FX_EMBD, sizeof(hidden));
	assert_int_equal(llama_decode(model, ws, &kvp, &pos, 1, hidden), 0);
	assert_same(hidden, want, FX_EMBD);

	assert_int_equal(llama_kv_copy(model, &small, &want_kv, N_IDS), -EINVAL);
	small.layer_last--;
	assert_int_equal(llama_kv_copy(model, &small, &want_kv, 1), -EINVAL);
	free(small.data);
	free(large.data);
	free(want_kv.data);
}

static void logits_are_the_tied_product(void **state)
{
	float logits[3 * FX_VOCAB], one[FX_VOCAB];

	(void)state;
	assert_int_equal(llama_logits(model, ws, embedded, 3, logits), 0);
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(llama_logits(model, ws, embedded + i * FX_EMBD, 1, one), 0);
		assert_same(logits + (size_t)i * FX_VOCAB, one, FX_VOCAB);
	}
	assert_int_equal(llama_logits(model, ws, embedded, 0, logits), -EINVAL);
}

/* What one step and its logits are, with or without kernels for packed weights. */
static void step_of_packed(const char *path, const char *kernel, float *logits, uint64_t *bytes)
{
	struct llama_options opt = { .max_vectors = 1 };
	struct llama *whole = model;
	struct model_error err;
	float last[FX_EMBD];
	struct llama_kv kv, *kvp = &kv;
	uint32_t pos = N_IDS - 1;

	setenv("SLUICE_QMATMUL", kernel, 1);
	if (llama_open(path, LLAMA_ROLE_ALL, &opt, &model, &err))
		fail_msg("%s", err.text);
	kv = new_kv(N_IDS);
	assert_int_equal(llama_prefill(model, ws, &kv, 0, embedded, pos, last), 0);
	memcpy(last, embedded + pos * FX_EMBD, sizeof(last));
	assert_int_equal(llama_decode(model, ws, &kvp, &pos, 1, last), 0);
	assert_int_equal(llama_logits(model, ws, last, 1, logits), 0);
	*bytes = llama_weight_bytes(model, 1);
	free(kv.data);
	llama_close(model);
	model = whole;
	unsetenv("SLUICE_QMATMUL");
}

static void packed_weights_give_the_same(void **state)
{
	static const uint32_t types[] = { GGML_Q4_1, GGML_Q8_0 };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct fx_options packed = { .packed = types[i] };
		struct fx_buf file = fx_model(&packed);
		float want[FX_VOCAB], got[FX_VOCAB];
		uint64_t f32_bytes, bytes;
		const char *path = fx_path("packed.gguf");

		fx_write(path, file.data, file.len);
		free(file.data);
		step_of_packed(path, "off", want, &f32_bytes);
		step_of_packed(path, "portable", got, &bytes);
		assert_same(got, want, FX_VOCAB);
		assert_in_range(bytes, f32_bytes / 8, f32_bytes / 3);
		step_of_packed(path, "auto", got, &bytes);
		assert_same(got, want, FX_VOCAB);
	}
}

/* Pages that come in the background: nothing is read differently, and who closes early stops them. */
static void pages_may_come_in_the_background(void **state)
{
	struct fx_options packed = { .packed = GGML_Q4_1 };
	struct llama_options opt = { .background = true };
	struct fx_buf file = fx_model(&packed);
	const char *path = fx_path("background.gguf");
	struct llama *whole = model;
	float want[FX_EMBD], got[FX_EMBD];
	struct model_error err;

	(void)state;
	fx_write(path, file.data, file.len);
	free(file.data);
	for (int i = 0; i < 50; i++) {
		struct llama_kv kv;

		opt.background = i;
		if (llama_open(path, LLAMA_ROLE_ALL, &opt, &model, &err))
			fail_msg("%s", err.text);
		kv = new_kv(N_IDS);
		if (i < 2)
			assert_int_equal(llama_prefill(model, ws, &kv, 0, embedded, N_IDS,
						       i ? got : want), 0);
		llama_close(model);
		free(kv.data);
	}
	model = whole;
	assert_memory_equal(got, want, sizeof(want));
}

static void what_does_not_fit_is_refused(void **state)
{
	struct llama_kv kv = new_kv(8), *kvp = &kv;
	struct llama_options range = { .layer_first = 1, .layer_last = 9 };
	struct llama_workspace *none;
	struct model_error err;
	struct llama *m;
	float last[FX_EMBD];
	int32_t bad[] = { 5, FX_VOCAB };
	uint32_t pos = 8, beyond = FX_CTX;

	(void)state;
	assert_int_equal(llama_prefill(model, ws, &kv, 0, embedded, 9, last), -ENOSPC);
	assert_int_equal(llama_prefill(model, ws, &kv, UINT32_MAX, embedded, 1, last), -ENOSPC);
	assert_int_equal(llama_prefill(model, ws, &kv, 0, embedded, 0, last), -EINVAL);
	assert_int_equal(llama_decode(model, ws, &kvp, &pos, 1, last), -ENOSPC);
	assert_int_equal(llama_decode(model, ws, &kvp, &pos, 0, last), -EINVAL);
	kv.capacity = UINT32_MAX;	/* the context ends before this */
	assert_int_equal(llama_decode(model, ws, &kvp, &beyond, 1, last), -ENOSPC);
	kv.layer_first = 1;
	assert_int_equal(llama_decode(model, ws, &kvp, &pos, 1, last), -EINVAL);
	assert_int_equal(llama_embed(model, bad, 2, last), -EINVAL);
	bad[1] = -1;
	assert_int_equal(llama_embed(model, bad, 2, last), -EINVAL);
	assert_int_equal(llama_workspace_create(model, 0, 1, &none), -EINVAL);
	assert_int_equal(llama_workspace_create(model, 1, 0, &none), -EINVAL);
	assert_int_equal(llama_open(fx_path("model.gguf"), LLAMA_ROLE_LAYERS, &range, &m, &err),
			 -EINVAL);
	assert_non_null(strstr(err.text, "range"));
	assert_int_equal(llama_open(fx_path("model.gguf"), 64, NULL, &m, &err), -EINVAL);
	free(kv.data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config_is_the_files),
		cmocka_unit_test(chunks_equal_the_whole),
		cmocka_unit_test(steps_equal_the_whole),
		cmocka_unit_test(batches_equal_single_streams),
		cmocka_unit_test(layer_ranges_equal_the_whole),
		cmocka_unit_test(shards_are_the_whole_bit_by_bit),
		cmocka_unit_test(parts_are_all_layers),
		cmocka_unit_test(kv_prefixes_can_be_copied),
		cmocka_unit_test(logits_are_the_tied_product),
		cmocka_unit_test(packed_weights_give_the_same),
		cmocka_unit_test(pages_may_come_in_the_background),
		cmocka_unit_test(what_does_not_fit_is_refused),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, setup, teardown);
}
