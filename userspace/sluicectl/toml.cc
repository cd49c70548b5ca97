// SPDX-License-Identifier: MIT
/*
 * toml.cc - a TOML file as a tree of C structures
 *
 * The parser is toml++, which is C++; nothing of it is seen outside this file.
 */

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <new>
#include <sstream>
#include <string>
#include <vector>

#include <sys/stat.h>
#include <unistd.h>
#include <toml++/toml.h>

#include "toml.h"

namespace {

/* A C string would end there, and the rest of the value be lost without a word. */
struct nul_in_string {
	toml::source_position at;
};

/* Recursion over the tree is bounded: toml++ refuses deep nesting (TOML_MAX_NESTED_VALUES). */

char *copy(std::string_view text, const toml::source_region &source)
{
	if (text.find('\0') != std::string_view::npos)
		throw nul_in_string{ source.begin };

	char *c = static_cast<char *>(std::malloc(text.size() + 1));

	if (!c)
		throw std::bad_alloc();
	std::memcpy(c, text.data(), text.size());
	c[text.size()] = 0;
	return c;
}

toml_type type_of(const toml::node &from)
{
	switch (from.type()) {
	case toml::node_type::table:
		return TOML_TABLE;
	case toml::node_type::array:
		return TOML_ARRAY;
	case toml::node_type::string:
		return TOML_STRING;
	case toml::node_type::integer:
		return TOML_INTEGER;
	case toml::node_type::floating_point:
		return TOML_REAL;
	case toml::node_type::boolean:
		return TOML_BOOLEAN;
	default:
		return TOML_OTHER;
	}
}

toml_node *children(toml_node *node, size_t n)
{
	node->children = static_cast<toml_node *>(std::calloc(n ? n : 1, sizeof(toml_node)));
	if (!node->children)
		throw std::bad_alloc();
	node->nchildren = n;
	return node->children;
}

void convert(const toml::node &from, toml_node *to);

/* toml++ keeps tables sorted by key; people expect the order of the file. */
void convert_table(const toml::table &from, toml_node *to)
{
	std::vector<std::pair<const toml::key *, const toml::node *>> rows;
	toml_node *child = children(to, from.size());

	for (const auto &[key, value] : from)
		rows.emplace_back(&key, &value);
	std::stable_sort(rows.begin(), rows.end(), [](const auto &a, const auto &b) {
		return a.first->source().begin < b.first->source().begin;
	});
	for (const auto &[key, value] : rows) {
		child->key = copy(key->str(), key->source());
		convert(*value, child);
		child->line = key->source().begin.line;
		child->column = key->source().begin.column;
		child++;
	}
}

void convert(const toml::node &from, toml_node *to)
{
	to->type = type_of(from);
	to->line = from.source().begin.line;
	to->column = from.source().begin.column;
	if (const auto *table = from.as_table()) {
		convert_table(*table, to);
	} else if (const auto *array = from.as_array()) {
		toml_node *child = children(to, array->size());

		for (const auto &value : *array)
			convert(value, child++);
	} else if (const auto *string = from.as_string()) {
		to->string = copy(string->get(), from.source());
	} else if (const auto *integer = from.as_integer()) {
		to->integer = integer->get();
	} else if (const auto *real = from.as_floating_point()) {
		to->real = real->get();
	} else if (const auto *boolean = from.as_boolean()) {
		to->boolean = boolean->get();
	}
}

int read_file(const char *path, std::string &text, char *error)
{
	constexpr long limit = 1 << 20;
	struct stat st;

	errno = 0;
	if (stat(path, &st) || access(path, R_OK)) {
		int err = errno;

		std::snprintf(error, TOML_ERROR_MAX, "%s: %s", path, std::strerror(err));
		return -err;
	}
	if (!S_ISREG(st.st_mode) || st.st_size > limit) {
		std::snprintf(error, TOML_ERROR_MAX, "%s: not a regular file of at most 1M", path);
		return -EINVAL;
	}
	std::ifstream in(path, std::ios::binary);
	std::ostringstream out;

	out << in.rdbuf();
	text = out.str();
	return 0;
}

void free_node(toml_node *node)
{
	for (size_t i = 0; i < node->nchildren; i++)
		free_node(&node->children[i]);
	std::free(node->children);
	std::free(node->string);
	std::free(node->key);
}

} // namespace

extern "C" int toml_load(const char *path, toml_node **root, char error[TOML_ERROR_MAX])
{
	std::string text;
	int err = read_file(path, text, error);

	if (err)
		return err;
	*root = static_cast<toml_node *>(std::calloc(1, sizeof(**root)));
	try {
		if (!*root)
			throw std::bad_alloc();
		convert(toml::parse(text, std::string_view(path)), *root);
		return 0;
	} catch (const toml::parse_error &e) {
		const auto &at = e.source().begin;
		std::string what(e.description());

		std::replace_if(what.begin(), what.end(),
				[](unsigned char c) { return c < ' ' || c == 127; }, '?');
		std::snprintf(error, TOML_ERROR_MAX, "%s:%u:%u: %s", path,
			      static_cast<unsigned int>(at.line),
			      static_cast<unsigned int>(at.column), what.c_str());
		err = -EINVAL;
	} catch (const nul_in_string &e) {
		std::snprintf(error, TOML_ERROR_MAX, "%s:%u:%u: a NUL character in a string", path,
			      static_cast<unsigned int>(e.at.line),
			      static_cast<unsigned int>(e.at.column));
		err = -EINVAL;
	} catch (const std::bad_alloc &) {
		std::snprintf(error, TOML_ERROR_MAX, "%s: no memory", path);
		err = -ENOMEM;
	}
	toml_free(*root);
	*root = nullptr;
	return err;
}

extern "C" void toml_free(toml_node *root)
{
	if (root)
		free_node(root);
	std::free(root);
}

extern "C" const char *toml_type_name(toml_type type)
{
	switch (type) {
	case TOML_TABLE:
		return "a table";
	case TOML_ARRAY:
		return "a list";
	case TOML_STRING:
		return "a string";
	case TOML_INTEGER:
		return "a whole number";
	case TOML_REAL:
		return "a fraction";
	case TOML_BOOLEAN:
		return "true or false";
	case TOML_OTHER:
		break;
	}
	return "a date";
}
