// SPDX-License-Identifier: MIT
/*
 * machine.c: what a figure was measured on
 */
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif

#include "perf.h"

#if defined(__x86_64__) || defined(__i386__)
/* From the processor itself: the /proc/cpuinfo of User-Mode Linux does not know. */
static void cpu_model(char *text, size_t size)
{
	unsigned int brand[13] = { 0 };
	const char *p = (const char *)brand;

	for (unsigned int i = 0; i < 3; i++)
		if (!__get_cpuid(0x80000002u + i, &brand[4 * i], &brand[4 * i + 1],
				 &brand[4 * i + 2], &brand[4 * i + 3]))
			break;
	snprintf(text, size, "%s", *p ? p + strspn(p, " ") : "unknown x86 processor");
	for (size_t n = strlen(text); n && text[n - 1] == ' '; n--)
		text[n - 1] = '\0';
}
#else
static void cpu_model(char *text, size_t size)
{
	char line[256];
	FILE *f = fopen("/proc/cpuinfo", "re");

	snprintf(text, size, "unknown processor");
	while (f && fgets(line, sizeof(line), f)) {
		const char *value = strchr(line, ':');

		if (value && (!strncmp(line, "model name", 10) || !strncmp(line, "CPU part", 8))) {
			snprintf(text, size, "%s", value + 1 + strspn(value + 1, " "));
			text[strcspn(text, "\n")] = '\0';
			break;
		}
	}
	if (f)
		fclose(f);
}
#endif

/* scripts/box says which kind it is; elsewhere it is the machine itself. */
static const char *box_kind(void)
{
	const char *box = getenv("SLUICE_BOX");

	return box && *box ? box : "none";
}

struct json_object *perf_machine_json(void)
{
	struct json_object *o = json_object_new_object();
	struct utsname u;
	char model[64];

	cpu_model(model, sizeof(model));
	uname(&u);
	json_object_object_add(o, "cpu", json_object_new_string(model));
	json_object_object_add(o, "processors", json_object_new_int(get_nprocs()));
	json_object_object_add(o, "kernel", json_object_new_string(u.release));
	json_object_object_add(o, "arch", json_object_new_string(u.machine));
	json_object_object_add(o, "box", json_object_new_string(box_kind()));
	return o;
}

void perf_machine_print(FILE *f)
{
	struct utsname u;
	char model[64];

	cpu_model(model, sizeof(model));
	uname(&u);
	fprintf(f, "machine: %s, %d processors, Linux %s %s, box %s\n", model, get_nprocs(),
		u.release, u.machine, box_kind());
}
