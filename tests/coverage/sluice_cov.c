// SPDX-License-Identifier: GPL-2.0
/*
 * sluice_cov.c: remembers which instrumented places of sluice.ko were ever reached.
 *
 * The instrumentation is KCOV's. Its collector is not: that one records what a task does
 * between two calls of that task, so it sees no timer, no work queue and nothing of a task
 * that is killed, which is half of what sluice does. This one sees everything, and keeps it
 * while sluice.ko is removed and inserted again.
 *
 *	/sys/kernel/debug/sluice_cov/hits	"core OFFSET" or "init OFFSET", a line each
 *	/sys/kernel/debug/sluice_cov/base	where the two are now, "core ADDRESS"
 */
#include <linux/bitmap.h>
#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/seq_file.h>

#define PART_MAX	(1UL << 20)	/* bytes of text */

struct part {
	const char	*name;
	unsigned long	base, size;
	DECLARE_BITMAP(hits, PART_MAX);
};

static struct part parts[] = { { .name = "core" }, { .name = "init" } };
static struct dentry *dir;

void sluice_cov_hit(unsigned long ip);

/* Called by what is instrumented, in any context: @ip follows the call. */
notrace void sluice_cov_hit(unsigned long ip)
{
	struct part *p;

	for (p = parts; p < parts + ARRAY_SIZE(parts); p++) {
		unsigned long at = ip - READ_ONCE(p->base);

		if (at >= READ_ONCE(p->size))
			continue;
		if (!test_bit(at, p->hits))
			set_bit(at, p->hits);
		return;
	}
}
EXPORT_SYMBOL_GPL(sluice_cov_hit);

static int module_event(struct notifier_block *nb, unsigned long event, void *data)
{
	static const enum mod_mem_type types[] = { MOD_TEXT, MOD_INIT_TEXT };
	const struct module *mod = data;
	unsigned int i;

	if (event != MODULE_STATE_COMING || strcmp(mod->name, "sluice"))
		return NOTIFY_OK;
	for (i = 0; i < ARRAY_SIZE(types); i++) {
		WRITE_ONCE(parts[i].size, min_t(unsigned long, mod->mem[types[i]].size, PART_MAX));
		WRITE_ONCE(parts[i].base, (unsigned long)mod->mem[types[i]].base);
	}
	return NOTIFY_OK;
}

/* Before anybody's ->init() runs, whatever else listens. */
static struct notifier_block listener = { .notifier_call = module_event, .priority = INT_MAX };

static int hits_show(struct seq_file *m, void *unused)
{
	unsigned int i;
	unsigned long at;

	for (i = 0; i < ARRAY_SIZE(parts); i++)
		for_each_set_bit(at, parts[i].hits, PART_MAX)
			seq_printf(m, "%s %lx\n", parts[i].name, at);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(hits);

static int base_show(struct seq_file *m, void *unused)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(parts); i++)
		seq_printf(m, "%s %lx\n", parts[i].name, parts[i].base);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(base);

static int __init cov_init(void)
{
	int err = register_module_notifier(&listener);

	if (err)
		return err;
	dir = debugfs_create_dir("sluice_cov", NULL);
	debugfs_create_file("hits", 0400, dir, NULL, &hits_fops);
	debugfs_create_file("base", 0400, dir, NULL, &base_fops);
	return 0;
}

static void __exit cov_exit(void)
{
	debugfs_remove(dir);
	unregister_module_notifier(&listener);
}

module_init(cov_init);
module_exit(cov_exit);

MODULE_AUTHOR("The sluice developers");
MODULE_DESCRIPTION("Test only: which places of sluice.ko were reached");
MODULE_LICENSE("GPL");
