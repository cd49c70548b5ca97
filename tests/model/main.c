// SPDX-License-Identifier: MIT
/*
 * main.c: command line of the model checker, TAP on standard output.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "model.h"

static const char usage[] =
	"Usage: slot-model [OPTION]... [CONFIG]...\n"
	"Explore every interleaving of small rings that run kmod/slot.h. TAP on stdout.\n"
	"\n"
	"  --long              the large configurations too\n"
	"  --mutant NAME       build in a mistake and look for it\n"
	"  --mutants           each mistake in turn; passes when every one is found\n"
	"  --replay MOVES      print what happens, for the one CONFIG named\n"
	"  --max-states N      stop there (default 100 million)\n"
	"  --max-mem MB        stop there (default 3000)\n"
	"  --no-live           leave out the search for what never comes to an end\n"
	"  --no-oracle         leave out the comparison with the table of slot.h\n"
	"  --list              names of configurations and mutants\n"
	"  --verbose           progress on stderr\n"
	"\n"
	"Example: slot-model --mutant no_fence_d sleep_tso\n";

static struct config *find_config(const char *name)
{
	struct config *c;

	for (c = configs; c->name; c++)
		if (!strcmp(c->name, name))
			return c;
	fprintf(stderr, "slot-model: no configuration \"%s\"; --list shows them\n", name);
	exit(2);
}

static const struct mutant_info *find_mutant(const char *name)
{
	const struct mutant_info *m;

	for (m = mutants; m->name; m++)
		if (!strcmp(m->name, name))
			return m;
	fprintf(stderr, "slot-model: no mutant \"%s\"; --list shows them\n", name);
	exit(2);
}

static void print_stats(const struct result *r)
{
	printf("# %llu states, %llu transitions, depth %llu, %.1f s, %.0f MB\n",
	       (unsigned long long)r->states, (unsigned long long)r->moves,
	       (unsigned long long)r->depth, r->seconds, (double)r->bytes / 1e6);
}

static void print_violation(const struct config *c, const struct mutant_info *m,
			    const struct result *r)
{
	printf("# %s\n", r->why);
	print_trace(r->replay);
	printf("# again: slot-model %s%s %s --replay %s\n", m ? "--mutant " : "",
	       m ? m->name : "", c->name, r->replay);
}

static bool run_config(struct config *c, const struct options *o, u32 n)
{
	struct result r;
	bool ok;

	engine_setup(c);
	explore(o, &r);
	ok = !r.why[0] && r.complete;
	printf("%sok %u - %s: %s\n", ok ? "" : "not ", n, c->name, c->what);
	print_stats(&r);
	if (r.why[0])
		print_violation(c, NULL, &r);
	else if (!r.complete)
		printf("# stopped before the end: raise --max-states or --max-mem\n");
	fflush(stdout);
	free(r.replay);
	return ok;
}

static bool run_mutant(const struct mutant_info *m, const struct options *o, u32 n, bool trace)
{
	struct config *c = find_config(m->config);
	struct result r;
	bool found;

	mutant = m->mutant;
	no_oracle = true;
	engine_setup(c);
	explore(o, &r);
	found = r.why[0];
	printf("%sok %u - %s (%s) in %s: %s\n", found ? "" : "not ", n, m->name, m->rule, m->config,
	       m->what);
	print_stats(&r);
	if (found && trace)
		print_violation(c, m, &r);
	else
		printf("# %s\n", found ? r.why : "nobody noticed");
	fflush(stdout);
	free(r.replay);
	mutant = M_none;
	no_oracle = false;
	return found;
}

static int list(void)
{
	const struct mutant_info *m;
	const struct config *c;

	for (c = configs; c->name; c++)
		printf("config %-16s %s%s\n", c->name, c->what, c->only_long ? " (long)" : "");
	for (m = mutants; m->name; m++)
		printf("mutant %-22s %-8s in %-14s %s\n", m->name, m->rule, m->config, m->what);
	return 0;
}

static int run_mutants(const struct options *o)
{
	const struct mutant_info *m;
	u32 n = 0, failed = 0;

	for (m = mutants; m->name; m++)
		n++;
	printf("TAP version 13\n1..%u\n", n);
	for (m = mutants, n = 0; m->name; m++)
		failed += !run_mutant(m, o, ++n, false);
	return failed != 0;
}

static int run_configs(const struct options *o, bool all, char **names, int count)
{
	u32 n = 0, failed = 0;
	struct config *c;
	int i;

	if (count) {
		printf("TAP version 13\n1..%d\n", count);
		for (i = 0; i < count; i++)
			failed += !run_config(find_config(names[i]), o, ++n);
		return failed != 0;
	}
	for (c = configs; c->name; c++)
		n += all || !c->only_long;
	printf("TAP version 13\n1..%u\n", n);
	for (c = configs, n = 0; c->name; c++)
		if (all || !c->only_long)
			failed += !run_config(c, o, ++n);
	return failed != 0;
}

static int replay(const struct mutant_info *m, const char *name, const char *moves)
{
	if (m) {
		mutant = m->mutant;
		no_oracle = true;
	}
	engine_setup(find_config(name));
	print_trace(moves);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option long_options[] = {
		{ "long", no_argument, NULL, 'l' }, { "mutant", required_argument, NULL, 'm' },
		{ "mutants", no_argument, NULL, 'M' }, { "replay", required_argument, NULL, 'r' },
		{ "max-states", required_argument, NULL, 's' },
		{ "max-mem", required_argument, NULL, 'b' }, { "no-live", no_argument, NULL, 'n' },
		{ "no-oracle", no_argument, NULL, 'o' }, { "list", no_argument, NULL, 'L' },
		{ "verbose", no_argument, NULL, 'v' }, { "help", no_argument, NULL, 'h' }, { 0 },
	};
	struct options o = { .max_states = 100000000, .max_bytes = 3000000000ull };
	const struct mutant_info *m = NULL;
	bool all = false, every_mutant = false, no_live = false;
	struct config *c;
	struct mutant_info other;
	int opt;

	while ((opt = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		switch (opt) {
		case 'l': all = true; break;
		case 'm': m = find_mutant(optarg); break;
		case 'M': every_mutant = true; break;
		case 'r': o.replay = optarg; break;
		case 's': o.max_states = strtoull(optarg, NULL, 0); break;
		case 'b': o.max_bytes = strtoull(optarg, NULL, 0) * 1000000; break;
		case 'n': no_live = true; break;
		case 'o': no_oracle = true; break;
		case 'L': return list();
		case 'v': o.verbose = true; break;
		case 'h': fputs(usage, stdout); return 0;
		default: fputs(usage, stderr); return 2;
		}
	}
	for (c = configs; c->name && no_live; c++)
		c->no_live = 1;
	if (o.replay && optind + 1 != argc) {
		fprintf(stderr, "slot-model: --replay needs the one configuration it belongs to\n");
		return 2;
	}
	if (o.replay)
		return replay(m, argv[optind], o.replay);
	if (every_mutant)
		return run_mutants(&o);
	if (!m)
		return run_configs(&o, all, argv + optind, argc - optind);
	other = *m;
	if (optind < argc)
		other.config = argv[optind];
	printf("TAP version 13\n1..1\n");
	return !run_mutant(&other, &o, 1, true);
}
