/*
 * trail.c
 *		The error context of pg_flo's background processes.
 */
#include "postgres.h"

#include "core/trail.h"
#include "lib/stringinfo.h"

FloTrail	flo_trail;

static ErrorContextCallback trail_callback;

static void
add_part(StringInfo buf, const char *format, const char *value)
{
	if (value == NULL)
		return;
	if (buf->len > 0)
		appendStringInfoString(buf, ", ");
	appendStringInfo(buf, format, value);
}

char *
flo_trail_describe(void)
{
	StringInfoData buf;

	initStringInfo(&buf);
	add_part(&buf, "group \"%s\"", flo_trail.group);
	add_part(&buf, "member \"%s\"", flo_trail.member);
	if (!XLogRecPtrIsInvalid(flo_trail.commit_lsn))
		appendStringInfo(&buf, "%s%s %X/%X", buf.len > 0 ? ", " : "",
						 flo_trail.several ? "one of the transactions up to" : "transaction at",
						 LSN_FORMAT_ARGS(flo_trail.commit_lsn));
	add_part(&buf, "%s", flo_trail.operation);
	if (flo_trail.table != NULL)
	{
		appendStringInfo(&buf, "%stable \"%s.%s\"", buf.len > 0 ? ", " : "",
						 flo_trail.schema != NULL ? flo_trail.schema : "?",
						 flo_trail.table);
		add_part(&buf, "column \"%s\"", flo_trail.column);
	}
	if (flo_trail.rule != 0)
		appendStringInfo(&buf, "%srule " INT64_FORMAT, buf.len > 0 ? ", " : "", flo_trail.rule);
	add_part(&buf, "row %s", flo_trail.row);
	if (buf.len == 0)
		return NULL;
	return buf.data;
}

static void
report_trail(void *arg)
{
	char	   *line = flo_trail_describe();

	if (line == NULL)
		return;
	errcontext("%s", line);

	/* what is left here by a message that is no error stays for ever */
	pfree(line);
}

void
flo_trail_install(void)
{
	trail_callback.callback = report_trail;
	trail_callback.arg = NULL;
	trail_callback.previous = error_context_stack;
	error_context_stack = &trail_callback;
}

void
flo_trail_source(uint32 relation, const char *schema, const char *table)
{
	flo_trail.source_relation = relation;
	flo_trail.source_schema = schema;
	flo_trail.source_table = table;
}

void
flo_trail_clear(void)
{
	flo_trail_source(0, NULL, NULL);
	flo_trail.commit_lsn = InvalidXLogRecPtr;
	flo_trail.several = false;
	flo_trail.operation = NULL;
	flo_trail.schema = NULL;
	flo_trail.table = NULL;
	flo_trail.column = NULL;
	flo_trail.rule = 0;
	flo_trail.row = NULL;
}

bool
flo_error_is_about_data(int sqlerrcode)
{
	switch (ERRCODE_TO_CATEGORY(sqlerrcode))
	{
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_SYSTEM_ERROR:
			return false;
		default:
			return sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE;
	}
}
