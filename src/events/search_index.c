/*
 * search_index.c
 *		The indexes of a search service: made, completed, renamed, gone through.
 *
 * An index says in its mapping's _meta which group and table its documents are of.
 * That is what keeps two tables from sharing one, after renames, too; what fields are
 * called is read from the index itself, so nothing has to be kept elsewhere.
 */
#include "postgres.h"

#include "events/search_index.h"

/* Fields of an index; the service's own limit is 1000, and text has two */
#define FIELDS_LIMIT 5000

/* Documents that are listed at a time, and for how long the service keeps the cursor */
#define PAGE_SIZE 5000
#define PAGE_KEPT "10m"

/* An index as the service describes it */
typedef struct Found
{
	FloJsonPart name;			/* the true one, with quotes */
	FloJsonPart meta;
	FloJsonPart properties;
	char	   *group;			/* "" when it is nobody's */
	char	   *owner;
} Found;

/* "/index" and what follows; the name needs no encoding */
static char *
path_of(const char *index, const char *rest)
{
	return psprintf("/%s%s", index, rest);
}

/* False when there is none */
static bool
read_index(FloSearchClient *client, const char *name, Found *index)
{
	FloSearchAnswer answer = flo_search_ask(client, "GET", path_of(name, "/_mapping"), NULL);
	FloJsonScan scan = flo_json_scan(answer.body);
	FloJsonPart value;
	FloJsonPart mark;
	FloJsonPart other;

	memset(index, 0, sizeof(Found));
	if (answer.status == 404)
		return false;
	if (answer.status != 200 || !flo_json_next(&scan, &index->name, &value) ||
		index->name.len < 3)
		flo_search_refused(client, &answer, psprintf("describe index \"%s\"", name));
	if (flo_json_next(&scan, NULL, &other))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("\"%s\" is an alias of several indexes", name),
				 errhint("Set the worker's option index to another name, or remove the alias.")));
	value = flo_json_find(value, "mappings");
	index->meta = flo_json_find(value, "_meta");
	index->properties = flo_json_find(value, "properties");
	mark = flo_json_find(index->meta, "pg_flo");
	index->group = flo_json_content(flo_json_find(mark, "group"));
	index->owner = flo_json_content(flo_json_find(mark, "table"));
	return true;
}

static bool
belongs_to(const Found *index, const char *group, const char *owner)
{
	return strcmp(index->group, group) == 0 && strcmp(index->owner, owner) == 0;
}

/* What others say in _meta stays there */
static void
append_meta(StringInfo out, FloJsonPart former, const char *group, const char *owner)
{
	FloJsonScan scan = flo_json_scan(former);
	FloJsonPart key;
	FloJsonPart value;

	appendStringInfo(out, "\"_meta\":{\"pg_flo\":{\"group\":\"%s\",\"table\":\"%s\"}", group, owner);
	while (scan.is_object && flo_json_next(&scan, &key, &value))
	{
		if (!flo_json_is(key, "\"pg_flo\""))
			appendStringInfo(out, ",%.*s:%.*s", key.len, key.data, value.len, value.data);
	}
	appendStringInfoChar(out, '}');
}

static void
append_setting(StringInfo out, FloSearchClient *client)
{
	appendStringInfo(out, "\"index\":{\"gc_deletes\":\"" INT64_FORMAT "ms\"",
					 client->spec->options.gc_deletes);
}

/* False when somebody else was quicker */
static bool
make_index(FloSearchClient *client, const FloSearchTable *table)
{
	bool		strict = client->spec->options.mapping == FLO_SEARCH_STRICT;
	FloSearchAnswer answer;
	StringInfoData body;

	initStringInfo(&body);
	appendStringInfoString(&body, "{\"settings\":{");
	append_setting(&body, client);
	if (strict)
		appendStringInfo(&body, ",\"mapping\":{\"total_fields\":{\"limit\":%d}}", FIELDS_LIMIT);
	appendStringInfoString(&body, "}},\"mappings\":{");
	append_meta(&body, flo_json_part(NULL, 0), client->spec->group, table->owner);
	if (strict)
	{
		appendStringInfoString(&body, ",\"dynamic\":\"strict\",\"properties\":{");
		for (int i = 0; i < table->natts; i++)
			appendStringInfo(&body, "%s%s:%s", i > 0 ? "," : "", table->fields[i],
							 table->mappings[i]);
		appendStringInfoChar(&body, '}');
	}
	appendStringInfoString(&body, "}}");
	answer = flo_search_ask(client, "PUT", path_of(table->index, ""), body.data);
	if (answer.status == 400 &&
		flo_json_is(flo_json_find(flo_json_find(answer.body, "error"), "type"),
					"\"resource_already_exists_exception\""))
		return false;
	if (answer.status != 200)
		flo_search_refused(client, &answer, psprintf("make index \"%s\"", table->index));
	return true;
}

static void
change_index(FloSearchClient *client, const char *index, const char *what, const char *body)
{
	FloSearchAnswer answer = flo_search_ask(client, "PUT", path_of(index, what), body);

	if (answer.status != 200)
		flo_search_refused(client, &answer, psprintf("change index \"%s\"", index));
}

/* Bytes of a stranger, fit for a message */
static char *
shown(const char *text)
{
	char	   *copy = pstrdup(text);

	for (char *c = copy; *c != '\0'; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	return copy;
}

/* Whose documents are in it? */
static void
check_owner(const FloSearchClient *client, const FloSearchTable *table, const Found *index)
{
	if (index->owner[0] == '\0' || belongs_to(index, client->spec->group, table->owner))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("index \"%s\" holds documents of another table, \"%s\" of group \"%s\"",
					table->index, shown(index->owner), shown(index->group)),
			 errhint("Set the worker's option index to another name, or delete that index.")));
}

/* A column that goes by another name is the field it was before; two must not be the same */
static void
check_fields(const FloSearchTable *table)
{
	for (int i = 0; i < table->natts; i++)
		for (int j = 0; j < i; j++)
			if (strcmp(table->fields[i], table->fields[j]) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						 errmsg("two columns of table \"%s.%s\" would be field %s of index \"%s\"",
								table->schema, table->table, table->fields[i], table->index),
						 errdetail("A column that was renamed keeps its field."),
						 errhint("Have the table in a new index: set the worker's option index to another name, and start from a copy.")));
}

static void
complete_index(FloSearchClient *client, FloSearchTable *table, const Found *index)
{
	bool		strict = client->spec->options.mapping == FLO_SEARCH_STRICT;
	const char *separator = "";
	StringInfoData body;
	StringInfoData setting;
	bool		wanting = index->owner[0] == '\0';

	initStringInfo(&body);
	appendStringInfoChar(&body, '{');
	append_meta(&body, index->meta, client->spec->group, table->owner);
	appendStringInfoString(&body, ",\"properties\":{");
	for (int i = 0; i < table->natts; i++)
	{
		char	   *name = pnstrdup(table->fields[i] + 1, strlen(table->fields[i]) - 2);
		FloJsonPart property = flo_json_find(index->properties, name);
		FloJsonPart path = flo_json_find(property, "path");

		if (flo_json_is(flo_json_find(property, "type"), "\"alias\"") && path.data != NULL)
			table->fields[i] = MemoryContextStrdup(table->context,
												   pnstrdup(path.data, path.len));
		if (property.data != NULL || !strict)
			continue;
		appendStringInfo(&body, "%s%s:%s", separator, table->fields[i], table->mappings[i]);
		separator = ",";
		wanting = true;
	}
	appendStringInfoString(&body, "}}");
	check_fields(table);
	if (wanting)
		change_index(client, table->index, "/_mapping", body.data);
	initStringInfo(&setting);
	appendStringInfoChar(&setting, '{');
	append_setting(&setting, client);
	appendStringInfoString(&setting, "}}");
	change_index(client, table->index, "/_settings", setting.data);
}

void
flo_search_prepare(FloSearchClient *client, FloSearchTable *table)
{
	Found		index;

	while (!table->prepared)
	{
		if (!read_index(client, table->index, &index))
			table->prepared = make_index(client, table);
		else
		{
			check_owner(client, table, &index);
			complete_index(client, table, &index);
			table->prepared = true;
		}
	}
}

const char *
flo_search_flattened(FloSearchClient *client)
{
	FloSearchAnswer answer = flo_search_ask(client, "GET", "/", NULL);
	FloJsonPart version = flo_json_find(answer.body, "version");

	if (answer.status != 200)
		flo_search_refused(client, &answer, "say what it is");
	return flo_json_is(flo_json_find(version, "distribution"), "\"opensearch\"") ? "flat_object" :
		"flattened";
}

/* --- renames ------------------------------------------------------------- */

/* An alias that leads to the index itself is not needed any more when it has that very name */
static void
change_alias(FloSearchClient *client, const Found *index, const char *action, const char *alias)
{
	FloSearchAnswer answer;
	char	   *body = psprintf("{\"actions\":[{\"%s\":{\"index\":%.*s,\"alias\":\"%s\"}}]}", action,
								index->name.len, index->name.data, alias);

	answer = flo_search_ask(client, "POST", "/_aliases", body);
	if (answer.status != 200)
		flo_search_refused(client, &answer, psprintf("change alias \"%s\"", alias));
}

void
flo_search_rename_index(FloSearchClient *client, const char *name, const char *owner,
						const char *new_name, const char *new_owner)
{
	Found		index;
	Found		other;
	char	   *true_name;
	StringInfoData meta;

	if (!read_index(client, name, &index) || !belongs_to(&index, client->spec->group, owner))
		return;
	/* the answer goes with the next request */
	true_name = pnstrdup(index.name.data, index.name.len);
	initStringInfo(&meta);
	appendStringInfoChar(&meta, '{');
	append_meta(&meta, index.meta, client->spec->group, new_owner);
	appendStringInfoChar(&meta, '}');
	if (!read_index(client, new_name, &other))
	{
		index.name = flo_json_part(true_name, strlen(true_name));
		change_alias(client, &index, "add", new_name);
	}
	else if (!flo_json_is(other.name, true_name))
	{
		ereport(LOG,
				(errmsg("table \"%s\" was renamed, but index \"%s\" is there already: its documents so far stay in index \"%s\"",
						owner, new_name, name)));
		return;
	}
	else if (strncmp(true_name + 1, new_name, strlen(new_name)) == 0 &&
			 strlen(true_name) == strlen(new_name) + 2 && strcmp(name, new_name) != 0)
	{
		index.name = flo_json_part(true_name, strlen(true_name));
		change_alias(client, &index, "remove", name);
	}
	change_index(client, new_name, "/_mapping", meta.data);
}

void
flo_search_rename_field(FloSearchClient *client, const char *name, const char *owner,
						const char *field, const char *new_field)
{
	Found		index;
	FloJsonPart property;
	FloJsonPart path;

	if (!read_index(client, name, &index) || !belongs_to(&index, client->spec->group, owner))
		return;
	property = flo_json_find(index.properties, pnstrdup(new_field + 1, strlen(new_field) - 2));
	if (property.data != NULL)
		return;
	property = flo_json_find(index.properties, pnstrdup(field + 1, strlen(field) - 2));
	if (property.data == NULL)
		return;
	path = flo_json_find(property, "path");
	if (path.data == NULL)
		path = flo_json_part(field, strlen(field));
	change_index(client, name, "/_mapping",
				 psprintf("{\"properties\":{%s:{\"type\":\"alias\",\"path\":%.*s}}}", new_field,
						  path.len, path.data));
}

/* --- all documents ------------------------------------------------------- */

static void
forget_cursor(FloSearchClient *client, char **cursor)
{
	(void) flo_search_ask(client, "DELETE", "/_search/scroll",
						  psprintf("{\"scroll_id\":[\"%s\"]}", *cursor));
	*cursor = NULL;
}

int
flo_search_page(FloSearchClient *client, const char *index, char **cursor, FloSearchFound found,
				void *arg)
{
	FloSearchAnswer answer;
	FloJsonScan scan;
	FloJsonPart hit;
	int			count = 0;

	if (*cursor == NULL)
	{
		answer = flo_search_ask(client, "POST", path_of(index, "/_refresh"), NULL);
		if (answer.status == 404)
			return 0;
		if (answer.status != 200)
			flo_search_refused(client, &answer, psprintf("refresh index \"%s\"", index));
		answer = flo_search_ask(client, "POST",
								path_of(index, "/_search?scroll=" PAGE_KEPT
										"&filter_path=_scroll_id,hits.hits._id"),
								psprintf("{\"size\":%d,\"sort\":[\"_doc\"],\"_source\":false}",
										 PAGE_SIZE));
	}
	else
		answer = flo_search_ask(client, "POST",
								"/_search/scroll?filter_path=_scroll_id,hits.hits._id",
								psprintf("{\"scroll\":\"" PAGE_KEPT "\",\"scroll_id\":\"%s\"}",
										 *cursor));
	if (answer.status == 404 && *cursor != NULL)
	{
		*cursor = NULL;
		return -1;
	}
	if (answer.status != 200)
		flo_search_refused(client, &answer, psprintf("list the documents of index \"%s\"", index));
	*cursor = flo_json_content(flo_json_find(answer.body, "_scroll_id"));
	scan = flo_json_scan(flo_json_find(flo_json_find(answer.body, "hits"), "hits"));
	while (flo_json_next(&scan, NULL, &hit))
	{
		FloJsonPart id = flo_json_find(hit, "_id");

		if (id.data == NULL)
			continue;
		found(arg, id);
		count++;
	}
	if (count == 0)
		forget_cursor(client, cursor);
	return count;
}
