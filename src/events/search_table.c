/*
 * search_table.c
 *		A table as a search index has it: names, fields, and what a row becomes.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_class.h"
#include "core/transaction.h"
#include "events/escape.h"
#include "events/event_key.h"
#include "events/json_value.h"
#include "events/search_mapping.h"
#include "events/search_table.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/varlena.h"

#define INDEX_NAME_MAX 255		/* bytes */

/*
 * A version holds the LSN of the commit, of which the lowest bits are the same for no
 * two commits (a commit record takes 40 bytes), and in these bits the number of
 * the change in its transaction, as far as they go.
 */
#define LSN_SHIFT 5
#define ORDINAL_BITS 12
#define ORDINAL_MAX ((UINT64CONST(1) << ORDINAL_BITS) - 1)
#define LSN_LIMIT (UINT64CONST(1) << (63 - ORDINAL_BITS + LSN_SHIFT))

/* --- names --------------------------------------------------------------- */

static void
refuse_template(const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for option \"%s\"", "index"),
			 errhint("%s", hint)));
}

FloTemplate *
flo_search_template(const char *text)
{
	FloTemplate *template = flo_template_parse("index", text, FLO_SEARCH_TOKENS);
	FloTemplateValues values = {{NULL}};
	StringInfoData sample;

	if (!flo_template_uses(template, FLO_TOKEN_TABLE))
		refuse_template("The name has to hold {table}: each table has an index of its own.");
	values.values[FLO_TOKEN_GROUP] = values.values[FLO_TOKEN_SCHEMA] =
		values.values[FLO_TOKEN_TABLE] = "x";
	initStringInfo(&sample);
	flo_template_expand(template, &values, &sample);
	if (strspn(sample.data, "abcdefghijklmnopqrstuvwxyz0123456789_-.=") != sample.len ||
		strchr("_-.", sample.data[0]) != NULL || sample.len > INDEX_NAME_MAX)
		refuse_template("The name of an index begins with a lower-case letter or digit, of which it consists together with \"_\", \"-\", \".\" and \"=\".");
	pfree(sample.data);
	return template;
}

static char *
escaped(FloEventWriter *writer, const char *name)
{
	StringInfoData text;
	StringInfoData token;

	initStringInfo(&text);
	initStringInfo(&token);
	flo_event_append_name(writer, &text, name);
	flo_escape_append(&token, FLO_ESCAPE_INDEX, text.data, text.len);
	return token.data;
}

char *
flo_search_index_name(FloEventWriter *writer, const FloTemplate *template, const char *group,
					  const char *schema, const char *table)
{
	FloTemplateValues values = {{NULL}};
	StringInfoData name;

	values.values[FLO_TOKEN_GROUP] = escaped(writer, group);
	values.values[FLO_TOKEN_SCHEMA] = escaped(writer, schema);
	values.values[FLO_TOKEN_TABLE] = escaped(writer, table);
	initStringInfo(&name);
	flo_template_expand(template, &values, &name);
	if (name.len > INDEX_NAME_MAX || strchr("_-.", name.data[0]) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("no index can have the name \"%s\" of table \"%s.%s\"", name.data, schema,
						table),
				 errhint("Set the worker's option index to a shorter name, or one that begins with a letter.")));
	return name.data;
}

char *
flo_search_owner(FloEventWriter *writer, const char *schema, const char *table)
{
	StringInfoData name;
	StringInfoData quoted;

	initStringInfo(&name);
	initStringInfo(&quoted);
	flo_event_append_name(writer, &name, schema);
	appendStringInfoChar(&name, '.');
	flo_event_append_name(writer, &name, table);
	flo_json_append_text(&quoted, name.data, name.len);
	return pnstrdup(quoted.data + 1, quoted.len - 2);
}

/* --- description --------------------------------------------------------- */

static void
refuse_table(const FloRelation *relation, const char *reason, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table \"%s.%s\" cannot be searched: %s", relation->schema, relation->name,
					reason),
			 errhint("%s", hint)));
}

static void
choose_key(FloSearchTable *table, const FloRelation *relation)
{
	if (!flo_event_has_key(relation))
		refuse_table(relation, relation->identity == REPLICA_IDENTITY_FULL ?
					 "its replica identity is FULL, which names no columns that tell one row from another" :
					 "it has no primary key or other replica identity",
					 "Give it a primary key, name columns with the worker's option id, or leave the table out with the option tables.");
	for (int i = 0; i < relation->natts; i++)
		table->in_id[i] = relation->columns[i].is_key;
}

/* Those that option id names */
static void
choose_columns(FloSearchTable *table, const FloRelation *relation, const char *names)
{
	List	   *columns;
	ListCell   *lc;

	if (!SplitIdentifierString(pstrdup(names), ',', &columns))
		elog(ERROR, "invalid option id");
	foreach(lc, columns)
	{
		int			at = 0;

		while (at < relation->natts && strcmp(relation->columns[at].name, lfirst(lc)) != 0)
			at++;
		if (at == relation->natts || !relation->columns[at].is_key)
			refuse_table(relation,
						 psprintf(at == relation->natts ?
								  "it has no column \"%s\", which the option id names" :
								  "column \"%s\", which the option id names, is no part of its replica identity",
								  (char *) lfirst(lc)),
						 "A DELETE has to name the row: set REPLICA IDENTITY FULL, or USING INDEX with an index that has the column, or leave the table out with the option tables.");
		table->in_id[at] = true;
	}
}

void
flo_search_describe(FloSearchTable *table, FloEventWriter *writer, const FloRelation *relation,
					const FloWorkerOptions *options, const char *flattened)
{
	const FloRelation *source = relation->source != NULL ? relation->source : relation;
	MemoryContext old = MemoryContextSwitchTo(table->context);
	bool		opened = !IsTransactionState();
	StringInfoData text;

	table->natts = relation->natts;
	table->schema = pstrdup(source->schema);
	table->table = pstrdup(source->name);
	table->owner = flo_search_owner(writer, relation->schema, relation->name);
	table->fields = palloc(sizeof(char *) * Max(relation->natts, 1));
	table->mappings = palloc(sizeof(char *) * Max(relation->natts, 1));
	table->vectors = palloc0(sizeof(bool) * Max(relation->natts, 1));
	table->in_id = palloc0(sizeof(bool) * Max(relation->natts, 1));
	if (strcmp(options->id, "key") == 0)
		choose_key(table, relation);
	else
		choose_columns(table, relation, options->id);
	if (opened)
		flo_transaction_start();
	MemoryContextSwitchTo(table->context);
	for (int i = 0; i < relation->natts; i++)
	{
		initStringInfo(&text);
		flo_search_field(&text, relation->columns[i].name);
		table->fields[i] = text.data;
		initStringInfo(&text);
		flo_search_mapping(&text, &relation->columns[i], flattened);
		table->mappings[i] = text.data;
		table->vectors[i] = flo_search_is_vector(&relation->columns[i]);
	}
	if (opened)
		flo_transaction_commit();
	MemoryContextSwitchTo(table->context);
	for (int i = 0; i < relation->natts; i++)
	{
		initStringInfo(&text);
		flo_event_append_name(writer, &text, table->fields[i]);
		table->fields[i] = text.data;
		initStringInfo(&text);
		flo_event_append_name(writer, &text, table->mappings[i]);
		table->mappings[i] = text.data;
	}
	MemoryContextSwitchTo(old);
	table->version = relation->version;
	table->prepared = false;
}

/* --- rows ---------------------------------------------------------------- */

/* What separates values, and the sign itself, are written otherwise within them */
static void
append_id_part(StringInfo out, const StringInfoData *text)
{
	for (int i = 0; i < text->len; i++)
	{
		if (text->data[i] == '%' || text->data[i] == ',')
			appendStringInfo(out, "%%%02X", text->data[i]);
		else
			appendStringInfoChar(out, text->data[i]);
	}
}

void
flo_search_append_id(const FloSearchTable *table, FloEventWriter *writer, StringInfo out,
					 const FloChange *change, bool old)
{
	int			start = out->len;
	bool		first = true;
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < table->natts; i++)
	{
		const FloValue *value;

		if (!table->in_id[i])
			continue;
		if (!first)
			appendStringInfoChar(out, ',');
		first = false;
		value = flo_event_value(change, old, i);
		if (value == NULL || value->kind == FLO_VALUE_NULL)
		{
			appendStringInfoString(out, "%-");
			continue;
		}
		resetStringInfo(&text);
		flo_event_append_text(writer, &text, change->relation, i, value);
		append_id_part(out, &text);
	}
	pfree(text.data);
	if (out->len == start || out->len - start > FLO_SEARCH_ID_MAX)
		flo_escape_hash(out, start, FLO_HEX_LOWER);
}

/* [1,2] for "[1,2]" */
static void
unquote_vector(StringInfo out, int start)
{
	int			len = out->len - start;

	if (len < 4 || out->data[start] != '"' || out->data[start + 1] != '[' ||
		strspn(out->data + start + 1, "0123456789+-.eE,[]") != len - 2)
		return;
	memmove(out->data + start, out->data + start + 1, len - 2);
	out->len -= 2;
	out->data[out->len] = '\0';
}

void
flo_search_append_document(const FloSearchTable *table, FloEventWriter *writer, StringInfo out,
						   const FloChange *change, List **missing)
{
	char		separator = '{';

	for (int i = 0; i < table->natts && i < change->new.natts; i++)
	{
		const FloValue *value = flo_event_value(change, false, i);
		int			start;

		if (value == NULL)
		{
			*missing = lappend(*missing, table->fields[i]);
			continue;
		}
		appendStringInfoChar(out, separator);
		separator = ',';
		appendStringInfoString(out, table->fields[i]);
		appendStringInfoChar(out, ':');
		start = out->len;
		flo_event_append_json(writer, out, change->relation, i, value);
		if (table->vectors[i])
			unquote_vector(out, start);
	}
	appendStringInfoString(out, separator == '{' ? "{}" : "}");
}

/* A copied row comes before any change that is not in the copy's snapshot */
int64
flo_search_version(const FloTransaction *txn)
{
	uint64		ordinal = txn->copy_id != NULL ? 0 : Min(txn->ordinal, ORDINAL_MAX);

	if (txn->final_lsn >= LSN_LIMIT)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the source's WAL is beyond what versions of documents can tell")));
	return (int64) ((txn->final_lsn >> LSN_SHIFT) << ORDINAL_BITS | ordinal);
}
