// SPDX-License-Identifier: MIT
/*
 * image.c - an image goes through a stage unharmed, a sound is refused by name
 *
 *	insmod sluice.ko
 *	image
 *
 * The child sends: a picture drawn straight into a payload buffer, then a sound, which nobody
 * declared. The parent declares what it takes, checks each message, and adds up the bytes.
 */
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sluice/sluice.h>
#include <sluice/tensor.h>

#define STAGE	"example.image"
#define HEIGHT	480u
#define WIDTH	640u
#define TAKES	"image:u8[?,?,3] <= 4M, image/png"

#define MUST(call)	do { if (call) errx(1, "%s: %s", #call, sluice_error()); } while (0)

static unsigned int checksum(const unsigned char *bytes, uint32_t n)
{
	unsigned int sum = 2166136261u;		/* FNV-1a: the order matters, too */

	while (n--)
		sum = (sum ^ *bytes++) * 16777619u;
	return sum;
}

static void send_picture(struct sluice_ep *out)
{
	struct sluice_tensor type = {
		.modality = SLUICE_MODALITY_IMAGE, .dtype = SLUICE_DTYPE_U8,
		.rank = 3, .shape = { HEIGHT, WIDTH, 3 },
	};
	struct sluice_msg msg = { .stream = 1 };
	struct sluice_buffer buf;
	unsigned char *pixel;
	void *data;

	MUST(sluice_buffer_take(out, &buf, SLUICE_FOREVER));
	MUST(sluice_tensor_begin(buf.data, sluice_buffer_size(out), &type, &data));
	pixel = data;
	for (unsigned int y = 0; y < HEIGHT; y++) {
		for (unsigned int x = 0; x < WIDTH; x++) {
			*pixel++ = (unsigned char)(x * 255 / WIDTH);
			*pixel++ = (unsigned char)(y * 255 / HEIGHT);
			*pixel++ = 128;
		}
	}
	printf("sent     %u bytes, checksum %08x\n", type.bytes, checksum(data, type.bytes));
	msg.len = SLUICE_TENSOR_HEADER + type.bytes;
	msg.buffer = buf.index;
	MUST(sluice_send(out, &msg, SLUICE_FOREVER));
}

static int sender(void)
{
	static const float silence[16000];
	struct sluice_tensor sound = {
		.modality = SLUICE_MODALITY_AUDIO, .dtype = SLUICE_DTYPE_F32,
		.rank = 1, .shape = { 16000 }, .rate = 16000,
	};
	struct sluice_msg msg = { .stream = 2 };
	struct sluice_ctx *ctx;
	struct sluice_ep *out;

	MUST(sluice_ctx_create(0, &ctx));
	MUST(sluice_attach(ctx, STAGE, SLUICE_PRODUCER, 0, &out));
	send_picture(out);
	MUST(sluice_tensor_send(out, &msg, &sound, silence, SLUICE_FOREVER));
	sluice_ctx_destroy(ctx);
	return 0;
}

/* Answers 0 for a message that was taken. What is refused will not be tried again. */
static int receive(struct sluice_ep *in, const struct sluice_accepts *accepts)
{
	char text[SLUICE_TYPE_TEXT];
	struct sluice_tensor type;
	struct sluice_msg msg;
	const void *data;
	int ret;

	MUST(sluice_claim(in, &msg, SLUICE_FOREVER));
	ret = sluice_tensor_read(&msg, &type, &data);
	if (!ret)
		ret = sluice_tensor_check(&type, accepts);
	if (ret) {
		printf("refused  %s\n", sluice_error());
		MUST(sluice_nack(in, &msg, -ret, 0, SLUICE_NACK_DEAD));
		return ret;
	}
	printf("received %s, checksum %08x\n", sluice_tensor_format(&type, text),
	       checksum(data, type.bytes));
	MUST(sluice_ack(in, &msg));
	return 0;
}

int main(void)
{
	struct sluice_create stage = { .name = STAGE, .nslots = 64,
				       .nbufs = 4, .bufsize = 1u << 20 };
	struct sluice_accepts accepts = { .stage = STAGE };
	struct sluice_ctx *ctx;
	struct sluice_ep *in;
	int picture, sound, status;

	setvbuf(stdout, NULL, _IOLBF, 0);
	MUST(sluice_accepts_parse(&accepts, TAKES));
	MUST(sluice_create(&stage));
	if (!fork())
		_exit(sender());
	MUST(sluice_ctx_create(0, &ctx));
	MUST(sluice_attach(ctx, STAGE, SLUICE_CONSUMER, 0, &in));
	picture = receive(in, &accepts);
	sound = receive(in, &accepts);
	sluice_ctx_destroy(ctx);
	wait(&status);
	MUST(sluice_destroy(STAGE, 0, 0));
	return picture || sound != -EPROTOTYPE || status;
}
